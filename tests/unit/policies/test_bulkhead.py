import asyncio
import sys
from math import inf, nan
from unittest.mock import Mock

import pytest

from prodkit import Call, Pipeline
from prodkit.clock import Clock
from prodkit.errors import BulkheadFullError, Code, ConfigurationError
from prodkit.policies.bulkhead import Bulkhead, BulkheadRejected, CallWaited
from prodkit.policies.deadline import Deadline
from prodkit.testing import EventRecorder, ManualClock
from prodkit.traits import Trait

pytestmark = pytest.mark.anyio


class Database:
    """Calls that run until the test lets them end; `entered` is the order in which they began."""

    def __init__(self, **options):
        self.clock = ManualClock()
        self.bulkhead = Bulkhead("db", clock=self.clock, **options)
        self.heard = EventRecorder()
        self.handler = Pipeline(self.heard, self.bulkhead).bind(self.leaf)
        self.entered = []
        self.holds = {}

    async def leaf(self, call):
        self.entered.append(call.operation)
        self.holds[call.operation] = hold = asyncio.Event()
        await hold.wait()
        return call.operation

    def begin(self, name, **options):
        return asyncio.create_task(self.handler(Call(name, **options)))

    async def come(self, *names, **options):
        tasks = [self.begin(name, **options) for name in names]
        await self.clock.settle()
        return tasks

    async def end(self, *names):
        for name in names:
            self.holds[name].set()
            await self.clock.settle()

    @property
    def counts(self):
        return self.bulkhead.running, self.bulkhead.waiting


async def refusal(task):
    with pytest.raises(BulkheadFullError) as caught:
        await task
    return caught.value


class TestPlaces:
    async def test_at_most_limit_calls_run_and_the_next_is_refused(self):
        db = Database(limit=2)
        first, _, third = await db.come("a", "b", "c")
        error = await refusal(third)
        assert (error.measured, error.threshold, error.policy) == (2, 2, "bulkhead db")
        assert error.code is Code.UNAVAILABLE
        assert error.refuses(db.heard.records[0][0])
        assert str(error) == "all 2 places of the bulkhead 'db' are taken"
        assert db.heard.events == [BulkheadRejected("bulkhead db", 2, 0, 0.0, None)]
        await db.end("a")
        assert first.result() == "a"
        assert db.counts == (1, 0)
        await db.come("d")
        assert db.entered == ["a", "b", "d"]

    @pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError()])
    async def test_a_place_comes_back_however_the_call_ends(self, error):
        bulkhead = Bulkhead("db", limit=1)

        async def leaf(_call):
            raise error

        for _ in range(3):
            with pytest.raises(type(error)):
                await Pipeline(bulkhead).bind(leaf)(Call("op"))
        assert bulkhead.running == 0

    async def test_a_stream_holds_its_place_until_its_end(self):
        db = Database(limit=1)
        call = Call("stream", streaming=True)
        task = asyncio.create_task(db.handler(call))
        await db.clock.settle()
        call.first_message()
        assert db.bulkhead.running == 1
        await db.end("stream")
        await task
        assert db.bulkhead.running == 0


class TestTheQueue:
    async def test_one_that_waits_is_one(self):
        db = Database(limit=1, queue=1)
        *_, third = await db.come("a", "b", "c")
        assert str(await refusal(third)).endswith("is taken, and 1 call waits for one")

    async def test_who_waits_gets_in_in_the_order_of_arrival(self):
        db = Database(limit=1, queue=3)
        *_, fifth = await db.come("a", "b", "c", "d", "e")
        error = await refusal(fifth)
        assert (error.measured, error.threshold) == (4, 4)
        assert str(error).endswith("is taken, and 3 calls wait for one")
        assert db.counts == (1, 3)
        await db.clock.advance(2)
        for name in "abcd":
            await db.end(name)
        assert db.entered == ["a", "b", "c", "d"]
        assert db.counts == (0, 0)
        assert db.heard.of(CallWaited) == [CallWaited("bulkhead db", 2.0)] * 3

    async def test_a_newcomer_does_not_overtake(self):
        db = Database(limit=1, queue=5)
        await db.come("a", "b")
        db.holds["a"].set()
        await asyncio.sleep(0)  # "a" gave its place to "b", which does not know yet
        await db.come("c")
        await db.end("b")
        assert db.entered == ["a", "b", "c"]

    async def test_a_listener_that_fails_costs_no_place(self):
        db = Database(limit=1, queue=1)

        def fails(_call, _event):
            raise OSError("no exporter")

        db.heard.listen = fails
        first, second, refused = await db.come("a", "b", "c")
        await refusal(refused)
        await db.end("a", "b")
        assert [await first, await second] == ["a", "b"]
        assert db.counts == (0, 0)

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_waiter_cancelled_at_any_moment_of_the_hand_over_passes_its_place_on(
        self, turns
    ):
        db = Database(limit=1, queue=5)
        _, second, _ = await db.come("a", "b", "c")
        db.holds["a"].set()
        for _ in range(turns):
            await asyncio.sleep(0)
        second.cancel()
        await db.clock.settle()
        assert second.cancelled()
        assert db.entered[-1] == "c"
        assert db.counts == (1, 0)
        await db.end("c")
        assert db.counts == (0, 0)

    async def test_who_was_cancelled_in_the_turn_of_the_release_is_passed_over(self):
        db = Database(limit=1, queue=5)
        _, second, _ = await db.come("a", "b", "c")
        second.cancel()
        db.holds["a"].set()
        await db.clock.settle()
        assert db.entered == ["a", "c"]
        assert db.counts == (1, 0)

    async def test_a_waiter_that_is_thrown_away_takes_no_place(self):
        db = Database(limit=1, queue=5)
        await db.come("a")
        waiter = db.handler(Call("b"))
        waiter.send(None)
        waiter.close()
        assert db.counts == (1, 0)
        await db.end("a")
        assert db.counts == (0, 0)


class TestHowLongItWaits:
    async def test_max_wait_ends_it(self):
        db = Database(limit=1, queue=5, max_wait=2)
        _, second = await db.come("a", "b")
        await db.clock.advance(1.9)
        assert not second.done()
        await db.clock.advance(0.1)
        error = await refusal(second)
        assert (error.measured, error.threshold) == (2.0, 2.0)
        assert str(error) == (
            "the only place of the bulkhead 'db' is taken, and none came free in the 2 s that this "
            "call could wait"
        )
        assert db.counts == (1, 0)
        assert db.heard.of(BulkheadRejected)[0].waited == 2.0

    async def test_the_deadline_of_the_call_ends_it_where_it_is_sooner(self):
        db = Database(limit=1, queue=5, max_wait=2)
        now = db.clock.monotonic()
        await db.come("a")
        [late] = await db.come("b", deadline=now + 1)
        [too_late] = await db.come("c", deadline=now)
        assert (await refusal(too_late)).threshold == 0
        await db.clock.advance(1)
        assert (await refusal(late)).measured == 1.0

    async def test_without_either_it_waits(self):
        db = Database(limit=1, queue=None)
        _, second = await db.come("a", "b")
        await db.clock.advance(1e6)
        await db.end("a", "b")
        assert second.result() == "b"

    async def test_a_wait_that_ended_in_time_does_not_end_twice(self):
        db = Database(limit=1, queue=5, max_wait=2)
        _, second = await db.come("a", "b")
        await db.clock.advance(1)
        await db.end("a")
        await db.clock.advance(5)
        await db.end("b")
        assert second.result() == "b"
        assert db.counts == (0, 0)

    async def test_a_place_given_in_the_turn_in_which_the_time_is_up_is_kept(self):
        db = Database(limit=1, queue=5, max_wait=2)
        _, second = await db.come("a", "b")
        db.holds["a"].set()
        await asyncio.sleep(0)
        [(_, _, timer)] = db.clock._timers
        timer.run()
        await db.clock.settle()
        await db.end("b")
        assert second.result() == "b"

    async def test_deadline_outside_and_bulkhead_agree(self):
        clock = ManualClock()
        bulkhead = Bulkhead("db", limit=1, queue=5, clock=clock)
        hold = asyncio.Event()
        handler = Pipeline(Deadline(1, clock=clock), bulkhead).bind(lambda _call: hold.wait())
        tasks = [asyncio.create_task(handler(Call(name))) for name in "abc"]
        await clock.advance(1)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (bulkhead.running, bulkhead.waiting) == (0, 0)


class TestRetryAfter:
    async def test_it_is_how_long_it_took_after_earlier_refusals(self):
        db = Database(limit=1)
        [_, refused] = await db.come("a", "b")
        assert (await refusal(refused)).retry_after is None
        await db.clock.advance(4)
        await db.end("a")
        [_, refused] = await db.come("c", "d")
        assert (await refusal(refused)).retry_after == 4.0
        await db.clock.advance(1.5)
        await db.end("c")
        [_, refused] = await db.come("e", "f")
        assert (await refusal(refused)).retry_after == pytest.approx(3.5)

    async def test_those_who_had_no_time_to_wait_are_refusals_too(self):
        db = Database(limit=1, queue=5)
        [_, refused] = await db.come("a") + await db.come("b", deadline=db.clock.monotonic())
        await refusal(refused)
        await db.clock.advance(4)
        await db.end("a")
        [_, late] = await db.come("c") + await db.come("d", deadline=db.clock.monotonic() + 1)
        await db.clock.advance(1)
        assert (await refusal(late)).retry_after == 4.0
        assert [event.retry_after for event in db.heard.of(BulkheadRejected)] == [None, 4.0]
        await db.clock.advance(9)
        [_, later] = await db.come("e") + await db.come("f", deadline=db.clock.monotonic())
        assert (await refusal(later)).retry_after == 9.0

    async def test_it_grows_while_nothing_comes_free(self):
        db = Database(limit=1)
        [_, refused] = await db.come("a", "b")
        await refusal(refused)
        await db.clock.advance(1)
        await db.end("a")
        [_, refused] = await db.come("c", "d")
        assert (await refusal(refused)).retry_after == 1.0
        await db.clock.advance(60)
        [refused] = await db.come("e")
        assert (await refusal(refused)).retry_after == 60.0


class TestKeys:
    async def test_each_key_has_its_places_and_leaves_nothing_behind(self):
        db = Database(limit=1, queue=1, key=lambda call: call.operation[0])
        *_, third = await db.come("a1", "b1", "a2", "a3")
        await refusal(third)
        assert db.entered == ["a1", "b1"]
        assert db.counts == (2, 1)
        await db.end("b1", "a1", "a2")
        assert db.entered == ["a1", "b1", "a2"]
        assert db.counts == (0, 0)
        assert not db.bulkhead._keyed


class TestReconfigure:
    async def test_a_higher_limit_lets_in_who_waits(self):
        db = Database(limit=1, queue=5)
        await db.come("a", "b", "c", "d")
        db.bulkhead.reconfigure(limit=3)
        await db.clock.settle()
        assert db.entered == ["a", "b", "c"]
        assert db.counts == (3, 1)
        assert db.bulkhead.limit == 3

    async def test_a_lower_limit_lets_who_runs_finish(self):
        db = Database(limit=3, queue=5)
        await db.come("a", "b", "c", "d")
        db.bulkhead.reconfigure(limit=1)
        await db.end("a", "b")
        assert db.counts == (1, 1)
        await db.end("c")
        assert db.entered[-1] == "d"

    async def test_a_shorter_queue_and_wait_are_for_newcomers(self):
        db = Database(limit=1, queue=2, max_wait=10)
        _, _, third = await db.come("a", "b", "c")
        db.bulkhead.reconfigure(queue=0, max_wait=1)
        [late] = await db.come("d")
        await refusal(late)
        await db.clock.advance(5)
        await db.end("a", "b", "c")
        assert third.result() == "c"
        assert db.bulkhead.traits is Trait.HOLDS

    async def test_all_or_nothing(self):
        bulkhead = Bulkhead("db", limit=1)
        with pytest.raises(ConfigurationError, match=r"^limit must be"):
            bulkhead.reconfigure(limit=0, queue=1)
        with pytest.raises(ConfigurationError, match=r"^queue must be"):
            bulkhead.reconfigure(limit=5, queue=-1)
        with pytest.raises(ConfigurationError, match=r"^max_wait must be"):
            bulkhead.reconfigure(limit=5, max_wait=0)
        assert repr(bulkhead) == "Bulkhead('db', 1 at once, 0 waiting)"


class TestWhatItSaysOfItself:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"limit": 0}, "limit must be a whole number of at least 1, not 0"),
            ({"limit": True}, "limit must be a whole number"),
            ({"limit": 2.0}, "limit must be a whole number"),
            ({"limit": nan}, "limit must be a whole number"),
            ({"limit": 1, "queue": -1}, "queue must be a whole number of at least 0, not -1"),
            ({"limit": 1, "queue": inf}, "queue must be a whole number"),
            ({"limit": 1, "queue": 1, "max_wait": 0}, "max_wait must be a positive number"),
            ({"limit": 1, "queue": 1, "max_wait": nan}, "max_wait must be a positive number"),
        ],
    )
    def test_options_out_of_range_are_refused_by_name(self, options, message):
        with pytest.raises(ConfigurationError, match=message):
            Bulkhead("db", **options)

    def test_one_line_with_its_options(self):
        def drawn(**options):
            return repr(Bulkhead("db", limit=10, **options))

        assert drawn(queue=50) == "Bulkhead('db', 10 at once, 50 waiting)"
        assert drawn(queue=50, max_wait=2) == (
            "Bulkhead('db', 10 at once, 50 waiting, 2 s at most)"
        )
        assert drawn(queue=None, key=str) == (
            "Bulkhead('db', 10 at once, any number waiting, each key)"
        )

    def test_what_a_review_must_know(self):
        assert Bulkhead("db", limit=1).traits is Trait.HOLDS
        assert Bulkhead("db", limit=1, max_wait=2).longest_wait == 0
        assert Bulkhead("db", limit=1, queue=1, max_wait=2).longest_wait == 2
        unbounded = Bulkhead("db", limit=1, queue=None)
        assert (unbounded.traits, unbounded.longest_wait) == (Trait.HOLDS | Trait.QUEUES, inf)
        assert Pipeline(unbounded).check()
        assert not Pipeline(Bulkhead("db", limit=1)).check()
        assert not Pipeline(Deadline(1), unbounded).check()


async def test_without_contention_it_costs_two_python_calls_and_reads_no_clock():
    clock = Mock(spec=Clock)
    handler = Pipeline(Bulkhead("db", limit=1, clock=clock)).bind(asyncio.sleep)
    called = []

    def profile(frame, event, _argument):
        if event == "call":
            called.append(frame.f_code.co_qualname)

    sys.setprofile(profile)
    try:
        await handler(0)
    finally:
        sys.setprofile(None)
    assert called[:2] == ["_link.<locals>.<lambda>", "Bulkhead.__call__"]
    assert "sleep" in called[2]
    assert clock.mock_calls == []
