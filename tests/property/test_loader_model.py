"""The loader against a model that says, of each turn, which batches run and who is told what."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from prodkit.data.loader import Loader

SIZE = 2
KEYS = st.sampled_from("abcd")


@dataclass(eq=False)
class Call:
    """One call of the batch function: who waits for which key."""

    waiters: dict
    state: str = "running"


@dataclass
class Model:
    """What a loader does, without tasks: callers are numbers, `answers` is what they were told."""

    cache: bool
    kept: dict = field(default_factory=dict)
    joinable: dict = field(default_factory=dict)
    collected: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)
    answers: dict = field(default_factory=dict)

    def load(self, caller, key):
        if key in self.kept:
            self.answers[caller] = self.kept[key]
        elif key in self.joinable:
            self.joinable[key].waiters[key].append(caller)
        else:
            self.collected.setdefault(key, []).append(caller)

    def cancel(self, caller):
        self.answers[caller] = "cancelled"
        for waiters in self.collected.values():
            if caller in waiters:
                waiters.remove(caller)
        for call in self.calls:
            if any(caller in waiters for waiters in call.waiters.values()):
                for waiters in call.waiters.values():
                    if caller in waiters:
                        waiters.remove(caller)
                if call.state == "running" and not any(call.waiters.values()):
                    self._end(call, "cancelled")

    def turn(self):
        wanted = [(key, waiters) for key, waiters in self.collected.items() if waiters]
        self.collected = {}
        for start in range(0, len(wanted), SIZE):
            call = Call(dict(wanted[start : start + SIZE]))
            self.calls.append(call)
            if self.cache:
                self.joinable |= dict.fromkeys(call.waiters, call)

    def finish(self, call, answers):
        current = [key for key in call.waiters if self.joinable.get(key) is call]
        self._end(call, "ended")
        for key, waiters in call.waiters.items():
            answer = answers if isinstance(answers, Exception) else answers[key]
            self.answers |= dict.fromkeys(waiters, answer)
            if key in current and not isinstance(answer, Exception):
                self.kept.setdefault(key, answer)

    def _end(self, call, state):
        call.state = state
        for key in call.waiters:
            if self.joinable.get(key) is call:
                del self.joinable[key]

    def forget(self, key):
        self.kept.pop(key, None)
        self.joinable.pop(key, None)


class LoaderMachine(RuleBasedStateMachine):
    @initialize(cache=st.booleans())
    def begin(self, cache):
        self.loop = asyncio.new_event_loop()
        self.loader = Loader(self.fetch, max_batch=SIZE, cache=cache)
        self.model = Model(cache)
        self.callers = []
        self.calls = []

    async def fetch(self, keys):
        call = [keys, self.loop.create_future(), "running"]
        self.calls.append(call)
        try:
            answers = await call[1]
        except asyncio.CancelledError:
            call[2] = "cancelled"
            raise
        call[2] = "ended"
        if isinstance(answers, Exception):
            raise answers
        return answers

    async def ask(self, keys):
        for key in keys:
            self.model.load(len(self.callers), key)
            self.callers.append(self.loader.load(key))

    def settle(self):
        async def turns():
            for _ in range(6):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())
        self.model.turn()

    def waiting(self):
        return [n for n in range(len(self.callers)) if n not in self.model.answers]

    @rule(data=st.data(), keys=st.lists(KEYS, min_size=1, max_size=6), leave=st.booleans())
    def ask_and_perhaps_leave(self, data, keys, leave):
        async def one_turn():
            await self.ask(keys)
            if leave:
                for caller in data.draw(st.sets(st.sampled_from(self.waiting() or [None]))):
                    self.leave(caller)

        # The task of the loop that asks is over before the loader's own turn comes.
        self.loop.run_until_complete(one_turn())
        self.settle()

    def leave(self, caller):
        if caller is not None:
            self.model.cancel(caller)
            self.callers[caller].cancel()

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def cancel(self, data):
        self.leave(data.draw(st.sampled_from(self.waiting())))
        self.settle()

    def running(self):
        return [n for n, call in enumerate(self.model.calls) if call.state == "running"]

    @precondition(lambda self: self.running())
    @rule(data=st.data(), how=st.sampled_from(["mapping", "order", "some fail", "all fail"]))
    def finish(self, data, how):
        number = data.draw(st.sampled_from(self.running()))
        keys = self.calls[number][0]
        answers = {key: f"{key} of call {number}" for key in keys}
        if how == "some fail":
            answers[keys[0]] = ValueError(keys[0])
        elif how == "all fail":
            answers = ValueError(f"call {number}")
        given = list(answers.values()) if how == "order" else answers
        self.model.finish(self.model.calls[number], answers)
        self.calls[number][1].set_result(given)
        self.settle()

    @rule(key=KEYS)
    def clear(self, key):
        self.loader.clear(key)
        self.model.forget(key)

    @precondition(lambda self: self.model.cache)
    @rule(key=KEYS)
    def prime(self, key):
        self.loader.prime(key, "primed")
        self.model.forget(key)
        self.model.kept[key] = "primed"

    @invariant()
    def callers_are_told_what_the_model_says(self):
        for number, waiter in enumerate(getattr(self, "callers", ())):
            assert waiter.done() is (number in self.model.answers)
            if waiter.done():
                told = "cancelled" if waiter.cancelled() else waiter.exception() or waiter.result()
                assert told == self.model.answers[number]

    @invariant()
    def the_same_calls_run(self):
        if hasattr(self, "calls"):
            assert [(list(call.waiters), call.state) for call in self.model.calls] == [
                (keys, state) for keys, _, state in self.calls
            ]
            assert self.loader.calls == len(self.calls)

    def teardown(self):
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.loader.aclose())
            assert all(waiter.done() for waiter in self.callers)
            assert not asyncio.all_tasks(self.loop)
            for waiter in self.callers:
                waiter.cancelled() or waiter.exception()
            self.loop.close()


LoaderMachine.TestCase.settings = settings(stateful_step_count=30)
TestLoader = LoaderMachine.TestCase
