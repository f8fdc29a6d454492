"""A bulkhead equals a list of who runs and a list of who waits, whatever is cancelled and when."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from prodkit import Call, Pipeline
from prodkit.errors import BulkheadFullError
from prodkit.policies.bulkhead import Bulkhead
from prodkit.testing import ManualClock

MAX_WAIT = 4.0
REFUSED, CANCELLED, DONE = "refused", "cancelled", "done"
which = st.integers(0, 100)
turns = st.integers(0, 5)


@dataclass
class Model:
    """What the promises say: places, a queue in the order of arrival, and how each call ended."""

    limit: int
    queue: int
    running: list[int] = field(default_factory=list)
    waiting: list[tuple[int, float]] = field(default_factory=list)  # who, and until when
    ended: dict[int, str] = field(default_factory=dict)

    def comes(self, call, until):
        if len(self.running) < self.limit:
            self.running.append(call)
        elif len(self.waiting) < self.queue:
            self.waiting.append((call, until))
        else:
            self.ended[call] = REFUSED

    def leaves(self, call, how):
        self.running = [other for other in self.running if other != call]
        self.waiting = [other for other in self.waiting if other[0] != call]
        self.ended[call] = how
        self.promote()

    def promote(self):
        while self.waiting and len(self.running) < self.limit:
            self.running.append(self.waiting.pop(0)[0])

    def expire(self, now):
        for call, until in list(self.waiting):
            if until <= now:
                self.leaves(call, REFUSED)


class BulkheadMachine(RuleBasedStateMachine):
    @initialize(limit=st.integers(1, 3), queue=st.integers(0, 4))
    def begin(self, limit, queue):
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.model = Model(limit, queue)
        self.bulkhead = Bulkhead(
            "db", limit=limit, queue=queue, max_wait=MAX_WAIT, clock=self.clock
        )
        self.handler = Pipeline(self.bulkhead).bind(self.leaf)
        self.tasks, self.holds = {}, {}
        self.entered, self.inside = [], Counter()

    async def leaf(self, call):
        name = int(call.operation)
        self.entered.append(name)
        self.inside["now"] += 1
        try:
            await self.holds[name].wait()
        finally:
            self.inside["now"] -= 1

    def run(self, *steps):
        """Run the steps, an int being so many turns of the loop, then let everything settle."""

        async def play():
            for step in steps:
                if isinstance(step, int):
                    for _ in range(step):
                        await asyncio.sleep(0)
                else:
                    step()
            await self.clock.settle()

        self.loop.run_until_complete(play())

    def newcomer(self, patience):
        name = len(self.tasks)
        self.holds[name] = asyncio.Event()
        now = self.clock.monotonic()
        call = Call(str(name), deadline=None if patience is None else now + patience)
        self.tasks[name] = self.loop.create_task(self.handler(call))
        return name, now + min(MAX_WAIT, patience or MAX_WAIT)

    @rule(patience=st.sampled_from([None, None, 1.0, 9.0]), count=st.integers(1, 3))
    def calls_come(self, patience, count):
        newcomers = [self.newcomer(patience) for _ in range(count)]
        for name, until in newcomers:
            self.model.comes(name, until)
        self.run()

    @precondition(lambda self: self.model.running)
    @rule(pick=which)
    def one_ends(self, pick):
        call = self.model.running[pick % len(self.model.running)]
        self.model.leaves(call, DONE)
        self.run(self.holds[call].set)

    @precondition(lambda self: self.model.running or self.model.waiting)
    @rule(pick=which)
    def one_is_cancelled(self, pick):
        alive = self.model.running + [name for name, _ in self.model.waiting]
        call = alive[pick % len(alive)]
        self.model.leaves(call, CANCELLED)
        self.run(self.tasks[call].cancel)

    @precondition(lambda self: self.model.running and self.model.waiting)
    @rule(pick=which, after=turns)
    def the_next_is_cancelled_while_it_gets_its_place(self, pick, after):
        ending = self.model.running[pick % len(self.model.running)]
        following = self.model.waiting[0][0]
        self.model.leaves(ending, DONE)
        self.model.leaves(following, CANCELLED)
        self.run(self.holds[ending].set, after, self.tasks[following].cancel)

    @precondition(lambda self: self.model.running and self.model.waiting)
    @rule(pick=which, after=turns)
    def somebody_comes_during_a_hand_over(self, pick, after):
        ending = self.model.running[pick % len(self.model.running)]
        came = []
        self.run(self.holds[ending].set, after, lambda: came.append(self.newcomer(None)))
        [(name, until)] = came
        was_full = len(self.model.waiting) >= self.model.queue
        self.model.leaves(ending, DONE)
        if was_full and self.tasks[name].done():  # it came before the place was handed over
            self.model.ended[name] = REFUSED
        else:
            self.model.comes(name, until)

    @precondition(lambda self: self.model.running and self.model.waiting)
    @rule(pick=which, order=st.booleans())
    def a_place_comes_free_as_the_time_is_up(self, pick, order):
        until = min(until for _, until in self.model.waiting)
        ending = self.model.running[pick % len(self.model.running)]
        self.loop.run_until_complete(self.clock.advance(until - self.clock.monotonic() - 0.5))
        self.clock._now += round(0.5e9)  # the timers are due, and have not run
        steps = [self.holds[ending].set, lambda: self.clock.call_later(0, lambda: None)]
        self.run(*(steps if order else reversed(steps)))
        self.model.leaves(ending, DONE)
        self.time_passes(0.0)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 4.0]))
    def time_passes(self, seconds):
        self.loop.run_until_complete(self.clock.advance(seconds))
        self.model.expire(self.clock.monotonic())

    @rule(limit=st.integers(1, 4), queue=st.integers(0, 5))
    def somebody_reconfigures(self, limit, queue):
        self.bulkhead.reconfigure(limit=limit, queue=queue)
        self.model.limit, self.model.queue = limit, queue
        self.model.promote()
        self.run()

    def teardown(self):
        if not hasattr(self, "loop"):
            return
        while self.model.running:
            self.one_ends(0)
            self.nothing_is_lost_or_doubled()
        assert (self.bulkhead.running, self.bulkhead.waiting) == (0, 0)
        assert all(task.done() for task in self.tasks.values())
        self.loop.close()

    @invariant()
    def nothing_is_lost_or_doubled(self):
        if not hasattr(self, "loop"):
            return
        assert self.bulkhead.running == self.inside["now"] == len(self.model.running)
        assert self.bulkhead.waiting == len(self.model.waiting)
        assert {name for name, task in self.tasks.items() if task.done()} == set(self.model.ended)
        for name, how in self.model.ended.items():
            task = self.tasks[name]
            if how is CANCELLED:
                assert task.cancelled()
            elif how is REFUSED:
                assert isinstance(task.exception(), BulkheadFullError)
            else:
                assert task.exception() is None

    @invariant()
    def who_came_first_ran_first(self):
        if hasattr(self, "loop"):
            assert self.entered == sorted(self.entered)


TestBulkheadAgainstItsModel = BulkheadMachine.TestCase
TestBulkheadAgainstItsModel.settings = settings(stateful_step_count=40)


@pytest.mark.slow
class TestBulkheadAtLength(BulkheadMachine.TestCase):
    settings = settings(stateful_step_count=100)
