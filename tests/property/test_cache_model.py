"""The cache against a model that says, of each step, who is answered what and which loads run."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from prodkit.data.cache import Cache
from prodkit.errors import NotFoundError, UnavailableError
from prodkit.testing import ManualClock

TTL, NEGATIVE, STALE, STALE_IF_ERROR, SIZE = 10.0, 3.0, 5.0, 20.0, 2
KEYS = st.sampled_from("abc")


@dataclass(eq=False)
class Load:
    """One load as the model sees it; a refresh goes on unwanted while it is `kept`, until `due`."""

    key: str
    number: int
    waiters: set = field(default_factory=set)
    due: float | None = None
    kept: bool = False
    state: str = "running"


class Model:
    """What a cache does, without tasks: `answers` says what each of the callers was told."""

    def __init__(self):
        self.now = 0.0
        self.values = OrderedDict()
        self.errors = OrderedDict()
        self.current = {}
        self.loads = []
        self.answers = {}
        self.counts = {"hits": 0, "stale": 0, "misses": 0, "stale_on_error": 0, "lost": 0}

    def get(self, caller, key):
        value, fresh_until = self.values.get(key, (None, float("-inf")))
        if self.now < fresh_until:
            self.values.move_to_end(key)
            self.counts["hits"] += 1
            self.answers[caller] = value
        elif key in self.errors and self.now < self.errors[key][1]:
            self.errors.move_to_end(key)
            self.counts["hits"] += 1
            self.answers[caller] = self.errors[key][0]
        elif value is not None and self.now < fresh_until + STALE:
            self.values.move_to_end(key)
            self.counts["stale"] += 1
            self.answers[caller] = value
            if key not in self.current:
                load = self._begin(key)
                load.kept, load.due = True, self.now + STALE
        else:
            self.counts["misses"] += 1
            (self.current.get(key) or self._begin(key)).waiters.add(caller)

    def _begin(self, key):
        load = self.current[key] = Load(key, len(self.loads))
        self.loads.append(load)
        return load

    def finish(self, load, outcome):
        load.state = "ended"
        failed = isinstance(outcome, Exception)
        if self.current.get(load.key) is load:
            del self.current[load.key]
            if not failed:
                self.keep(load.key, outcome)
            elif isinstance(outcome, NotFoundError):
                self.values.pop(load.key, None)
                self._store(self.errors, load.key, outcome, NEGATIVE)
        if failed and load.due is not None:
            self.counts["lost"] += 1
        for caller in load.waiters:
            self.answers[caller] = outcome
            value, fresh_until = self.values.get(load.key, (None, float("-inf")))
            usable = value is not None and self.now < fresh_until + STALE_IF_ERROR
            if failed and not isinstance(outcome, NotFoundError) and usable:
                self.values.move_to_end(load.key)
                self.counts["stale_on_error"] += 1
                self.answers[caller] = value

    def keep(self, key, value):
        self.errors.pop(key, None)
        self._store(self.values, key, value, NEGATIVE if value is None else TTL)

    def _store(self, where, key, what, ttl):
        where[key] = (what, self.now + ttl)
        where.move_to_end(key)
        if len(where) > SIZE:
            where.popitem(last=False)

    def cancel(self, caller):
        for load in self.loads:
            if caller in load.waiters:
                load.waiters.discard(caller)
                self._end_unwanted(load)

    def drop(self, key):
        self.values.pop(key, None)
        self.errors.pop(key, None)
        load = self.current.pop(key, None)
        if load is not None:
            load.kept = False
            self._end_unwanted(load)

    def _end_unwanted(self, load):
        if load.state == "running" and not load.waiters and not load.kept:
            load.state = "cancelled"
            if self.current.get(load.key) is load:
                del self.current[load.key]

    def advance(self, seconds):
        self.now += seconds
        for load in self.loads:
            if load.state == "running" and load.due is not None and load.due <= self.now:
                load.kept = False
                self.counts["lost"] += not load.waiters
                self._end_unwanted(load)


class CacheMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.lost = 0
        self.cache = Cache(
            ttl=TTL,
            negative_ttl=NEGATIVE,
            negative_on=NotFoundError,
            stale=STALE,
            stale_if_error=STALE_IF_ERROR,
            max_size=SIZE,
            jitter=0.0,
            clock=self.clock,
            listener=self.hear,
        )
        self.model = Model()
        self.loads = []
        self.callers = {}
        self.numbers = count()

    def hear(self, event, key, error):
        self.lost += type(event).__name__ == "RefreshFailed"

    async def load(self, key):
        entry = [key, self.loop.create_future(), "running"]
        self.loads.append(entry)
        try:
            outcome = await entry[1]
        except asyncio.CancelledError:
            entry[2] = "cancelled"
            raise
        entry[2] = "ended"
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def settle(self, work=None):
        async def run():
            if work is not None:
                await work
            for _ in range(12):
                await asyncio.sleep(0)

        self.loop.run_until_complete(run())

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4))
    def get(self, keys):
        for key in keys:
            caller = next(self.numbers)
            self.callers[caller] = self.loop.create_task(self.cache.get(key, self.load))
            self.model.get(caller, key)
        self.settle()

    def running(self):
        return [load for load in self.model.loads if load.state == "running"]

    @precondition(lambda self: self.running())
    @rule(data=st.data(), outcome=st.sampled_from(["value", None, "missing", "away", "odd"]))
    def finish(self, data, outcome):
        load = data.draw(st.sampled_from(self.running()))
        errors = {"missing": NotFoundError, "away": UnavailableError, "odd": KeyError}
        if outcome in errors:
            outcome = errors[outcome](f"load {load.number}")
        elif outcome is not None:
            outcome = f"value {load.number}"
        self.loads[load.number][1].set_result(outcome)
        self.model.finish(load, outcome)
        self.settle()

    def waiting(self):
        return sorted(caller for load in self.running() for caller in load.waiters)

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def cancel(self, data):
        caller = data.draw(st.sampled_from(self.waiting()))
        self.callers.pop(caller).cancel()
        self.model.cancel(caller)
        self.settle()

    @rule(key=KEYS)
    def invalidate(self, key):
        self.model.drop(key)
        self.settle(self.cache.invalidate(key))

    @rule(key=KEYS, value=st.sampled_from(["put", None]))
    def put(self, key, value):
        self.model.drop(key)
        self.model.keep(key, value)
        self.settle(self.cache.put(key, value))

    @rule()
    def clear(self):
        for key in "abc":
            self.model.drop(key)
        self.cache.clear()
        self.settle()

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.5, 5.0, 10.0, 30.0]))
    def pass_time(self, seconds):
        self.model.advance(seconds)
        self.settle(self.clock.advance(seconds))

    @invariant()
    def callers_are_answered_as_the_model_says(self):
        for caller, task in list(getattr(self, "callers", {}).items()):
            assert task.done() is (caller in self.model.answers)
            if task.done():
                told = task.exception() or task.result()
                assert told is self.model.answers[caller]
                del self.callers[caller]

    @invariant()
    def the_same_loads_run(self):
        if hasattr(self, "loads"):
            assert [(load.key, load.state) for load in self.model.loads] == [
                (key, state) for key, _, state in self.loads
            ]

    @invariant()
    def the_same_is_kept_and_counted(self):
        if hasattr(self, "cache"):
            model, stats = self.model, self.cache.stats
            assert len(self.cache) == len(model.values) + len(model.errors)
            counted = {name: getattr(stats, name) for name in model.counts if name != "lost"}
            assert counted | {"lost": self.lost} == model.counts
            assert stats.loads == len(model.loads)

    def teardown(self):
        if hasattr(self, "loop"):
            for task in self.callers.values():
                task.cancel()
            self.settle(self.cache.aclose())
            assert not asyncio.all_tasks(self.loop)
            self.loop.close()


CacheMachine.TestCase.settings = settings(stateful_step_count=50)
TestCache = CacheMachine.TestCase
