import asyncio
from contextvars import ContextVar

import pytest

from prodkit import Call, Code, Pipeline, Trait
from prodkit.errors import (
    CircuitOpenError,
    ConfigurationError,
    DeadlineExceededError,
    NotFoundError,
    UnavailableError,
)
from prodkit.policies.deadline import Deadline
from prodkit.policies.hedge import (
    Hedge,
    HedgeSent,
    HedgeWithheld,
    HedgeWon,
    KeyedRetryBudget,
    RetryBudget,
    default_is_failure,
)
from prodkit.policies.timeout import Timeout
from prodkit.testing import EventRecorder, ManualClock
from prodkit.traits import traits_of

pytestmark = pytest.mark.anyio

RICH = {"ratio": 1.0, "per_second": 100.0}


def away(**options):
    return UnavailableError("away", **options)


class Slow:
    """A leaf whose attempts take so long and end so: (seconds, end); a Code is a failed result."""

    def __init__(self, clock, *ends):
        self.clock = clock
        self.ends = list(ends)
        self.calls = []
        self.cancelled = []

    async def __call__(self, call):
        self.calls.append(call)
        seconds, end = self.ends.pop(0)
        try:
            await self.clock.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled.append(call.attempt)
            raise
        if isinstance(end, Exception):
            raise end
        if isinstance(end, Code):
            call.code = end
        return end


class Bench:
    def __init__(self, *ends, inside=(), **options):
        self.clock = ManualClock()
        self.leaf = Slow(self.clock, *ends)
        self.recorder = EventRecorder()
        options = {"delay": 1.0, "budget": RetryBudget(**RICH), **options}
        self.hedge = Hedge(clock=self.clock, **options)
        self.handler = Pipeline(self.recorder, self.hedge, *inside).bind(self.leaf)

    def start(self, call=None):
        return asyncio.create_task(self.handler(call or Call("op", safe=True)))

    async def call(self, call=None, seconds=60.0):
        task = self.start(call)
        await self.clock.advance(seconds)
        assert task.done()
        return await task

    async def fails(self, error, call=None):
        with pytest.raises(error) as caught:
            await self.call(call)
        return caught.value

    def said(self, kind):
        return self.recorder.of(kind)


async def test_a_first_try_that_is_fast_is_all():
    bench = Bench((0.9, "answer"))
    assert await bench.call(seconds=0.9) == "answer"
    assert not any(timer._callback for _, _, timer in bench.clock._timers)
    assert len(bench.leaf.calls) == 1
    assert bench.recorder.events == []


async def test_what_is_slow_is_asked_again_and_the_first_answer_wins():
    bench = Bench((9.0, "first"), (0.5, "second"))
    task = bench.start()
    await bench.clock.advance(1.5)
    assert await task == "second"
    assert bench.leaf.cancelled == [1]
    assert bench.recorder.events == [HedgeSent("hedge", 2, 1.0), HedgeWon("hedge", 2)]


async def test_the_first_may_still_win():
    bench = Bench((1.5, "first"), (9.0, "second"))
    assert await bench.call() == "first"
    assert bench.leaf.cancelled == [2]
    assert bench.said(HedgeWon) == []


async def test_up_to_max_hedges_run_each_after_a_further_wait():
    bench = Bench((99, 1), (99, 2), (99, 3), (0.5, 4), (99, 5), max_hedges=3)
    begun = bench.clock.monotonic()
    assert await bench.call() == 4
    assert [event.attempt for event in bench.said(HedgeSent)] == [2, 3, 4]
    assert sorted(bench.leaf.cancelled) == [1, 2, 3]
    assert bench.hedge._latency("op").value(begun + 4) == pytest.approx(3.5, rel=0.05)


async def test_there_are_never_more_than_max_hedges():
    bench = Bench(*[(9.0, number) for number in range(9)], max_hedges=2)
    await bench.call()
    assert len(bench.leaf.calls) == 3


class TestWhatMayBeHedged:
    @pytest.mark.parametrize("options", [{}, {"safe": False}, {"safe": True, "streaming": True}])
    async def test_a_call_that_may_not_repeat_runs_once(self, options):
        bench = Bench((9.0, "answer"))
        assert await bench.call(Call("op", **options)) == "answer"
        assert [call.operation for call in bench.leaf.calls] == ["op"]

    async def test_a_call_with_a_key_may(self):
        assert await Bench((9.0, 1), (0.1, 2)).call(Call("op", safe=False, key="k")) == 2

    def test_doors_see_what_it_does(self):
        assert traits_of(Hedge()) == Trait.REPEATS | Trait.CONCURRENT


class TestFailures:
    @pytest.mark.parametrize("end", [away(), Code.UNAVAILABLE])
    async def test_a_fast_one_does_not_win_over_a_pending_answer(self, end):
        bench = Bench((2.0, "first"), (0.1, end))
        assert await bench.call() == "first"
        assert bench.leaf.cancelled == []

    @pytest.mark.parametrize("end", [away(), Code.UNAVAILABLE])
    async def test_nor_does_that_of_the_first_attempt(self, end):
        bench = Bench((1.1, end), (5.0, "second"))
        assert await bench.call() == "second"
        assert bench.said(HedgeWon) == [HedgeWon("hedge", 2)]

    async def test_an_answer_that_no_other_attempt_would_better_wins(self):
        bench = Bench((9.0, "first"), (0.1, NotFoundError("gone")))
        error = await bench.fails(NotFoundError)
        assert error.__notes__ == ["Hedge: this was attempt 2, one of 2"]
        assert bench.leaf.cancelled == [1]

    async def test_one_before_its_time_is_the_calls(self):
        bench = Bench((0.5, away()))
        error = await bench.fails(UnavailableError)
        assert not hasattr(error, "__notes__")
        assert len(bench.leaf.calls) == 1

    @pytest.mark.parametrize("asked", [None, -1.0, 5.0])
    async def test_after_one_nothing_is_sent_whatever_the_callee_asked(self, asked):
        bench = Bench((9.0, "first"), (0.1, away(retry_after=asked)), (0, "third"), max_hedges=5)
        assert await bench.call() == "first"
        assert len(bench.leaf.calls) == 2

    async def test_after_one_the_first_good_answer_is_not_kept_waiting(self):
        bench = Bench((2.5, away()), (3.0, "second"), (99.0, "third"), max_hedges=2)
        task = bench.start()
        await bench.clock.advance(4.0)
        assert task.done()
        assert await task == "second"
        assert bench.leaf.cancelled == [3]

    async def test_when_all_fail_it_is_the_first_ones(self):
        first, second = away(), away()
        bench = Bench((3.0, first), (0.5, second))
        assert await bench.fails(UnavailableError) is first

    async def test_a_failed_result_comes_back_with_what_it_said(self):
        bench = Bench((3.0, Code.UNAVAILABLE), (9.0, Code.INTERNAL))
        call = Call("op", safe=True)
        assert await bench.call(call) is Code.UNAVAILABLE
        assert call.code is Code.UNAVAILABLE

    async def test_what_is_a_failure_can_be_told(self):
        bench = Bench((9, "first"), (0.1, "bad"), is_failure=lambda call, error: call.attempt == 2)
        assert await bench.call() == "first"

    @pytest.mark.parametrize(
        ("code", "error", "failure"),
        [
            (Code.OK, None, False),
            (Code.NOT_FOUND, None, False),
            (Code.RESOURCE_EXHAUSTED, None, True),
            (Code.OK, NotFoundError("x"), False),
            (Code.OK, TimeoutError(), True),
            (Code.OK, ConnectionError(), True),
            (Code.OK, ValueError(), True),
        ],
    )
    def test_by_default_its_code_tells(self, code, error, failure):
        call = Call("op")
        call.code = code
        assert default_is_failure(call, error) is failure

    async def test_a_hedge_that_was_cancelled_from_inside_is_no_answer(self):
        bench = Bench((3.0, "first"), (0, asyncio.CancelledError()))

        async def leaf(call):
            if call.attempt == 2:
                raise asyncio.CancelledError
            return await bench.leaf(call)

        bench.handler = Pipeline(bench.hedge).bind(leaf)
        assert await bench.call() == "first"


class TestRejections:
    @staticmethod
    def refusing(bench, *attempts, seconds=2.0):
        async def leaf(call):
            await bench.clock.sleep(seconds)
            if call.attempt in attempts:
                raise CircuitOpenError("open", call=call, policy="p", measured=1, threshold=1)
            raise away()

        bench.handler = Pipeline(bench.recorder, bench.hedge).bind(leaf)

    @pytest.mark.parametrize("seconds", [0.5, 2.0])
    async def test_one_of_all_attempts_refuses_the_call(self, seconds):
        bench, call = Bench(), Call("op", safe=True)
        self.refusing(bench, 1, 2, seconds=seconds)
        error = await bench.fails(CircuitOpenError, call)
        assert error.refuses(call)

    @pytest.mark.parametrize("refused", [1, 2])
    async def test_one_of_some_does_not_hide_that_another_ran(self, refused):
        bench = Bench()
        self.refusing(bench, refused)
        await bench.fails(UnavailableError)
        assert bench.said(HedgeWon) == []

    async def test_one_that_wins_by_decree_does_not_either(self):
        bench, call = Bench(is_failure=lambda call, error: call.attempt != 2), Call("op", safe=True)
        self.refusing(bench, 2)
        error = await bench.fails(CircuitOpenError, call)
        assert not error.refuses(call)


class TestCancellation:
    async def test_of_the_call_ends_all_attempts_and_waits_for_them(self):
        bench = Bench((9.0, 1), (9.0, 2), (9.0, 3), max_hedges=2)
        task = bench.start()
        await bench.clock.advance(2.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(bench.leaf.cancelled) == [1, 2, 3]
        assert bench.said(HedgeWon) == []

    @pytest.mark.parametrize("winner", ["hedge", "first"])
    async def test_losers_end_before_the_call_returns(self, winner):
        clock, ended = ManualClock(), []

        async def leaf(call):
            try:
                slow = call.attempt == (1 if winner == "hedge" else 2)
                await clock.sleep(99.0 if slow else 2.0)
            except asyncio.CancelledError:
                await clock.sleep(5.0)  # cleaning up takes its time
                ended.append(call.attempt)
                raise
            return "answer"

        hedge = Hedge(delay=1.0, clock=clock)
        task = asyncio.create_task(Pipeline(hedge).bind(leaf)(Call("op", safe=True)))
        await clock.advance(6.9)
        assert not task.done()
        await clock.advance(1.2)
        assert await task == "answer"
        assert len(ended) == 1

    async def test_while_a_loser_ends_is_obeyed_after_it_did(self):
        clock, ended = ManualClock(), []

        async def leaf(call):
            try:
                await clock.sleep(2.0 if call.attempt == 1 else 99.0)
            except asyncio.CancelledError:
                await clock.sleep(5.0)
                ended.append(call.attempt)
                raise

        hedge = Hedge(delay=1.0, clock=clock)
        task = asyncio.create_task(Pipeline(hedge).bind(leaf)(Call("op", safe=True)))
        await clock.advance(3.0)
        task.cancel()
        await clock.advance(1.0)
        task.cancel()
        await clock.settle()
        assert not task.done()
        await clock.advance(10.0)
        assert task.cancelled()
        assert ended == [2]

    async def test_that_comes_together_with_a_win_is_obeyed(self):
        bench = Bench((9.0, 1))

        async def leaf(call):
            if call.attempt == 1:
                return await bench.leaf(call)
            task.cancel()
            return 2

        bench.handler = Pipeline(bench.hedge).bind(leaf)
        task = bench.start()
        await bench.clock.advance(1.0)
        assert task.cancelled()
        assert bench.leaf.cancelled == [1]

    async def test_of_a_hedge_that_wins_leaves_the_task_uncancelled(self):
        bench = Bench((9.0, 1), (0.5, 2), (0.1, 3))

        async def twice():
            assert await bench.handler(Call("op", safe=True)) == 2
            assert asyncio.current_task().cancelling() == 0
            await asyncio.sleep(0)
            return await bench.handler(Call("op", safe=True))

        task = asyncio.create_task(twice())
        await bench.clock.advance(20.0)
        assert await task == 3

    async def test_a_first_attempt_that_ends_in_spite_of_it_changes_nothing(self):
        bench = Bench((0.5, "second"))

        async def leaf(call):
            if call.attempt == 2:
                return await bench.leaf(call)
            try:
                await bench.clock.sleep(99.0)
            except asyncio.CancelledError:
                return "late"

        bench.handler = Pipeline(bench.hedge).bind(leaf)

        async def guarded():
            result = await bench.handler(Call("op", safe=True))
            return result, asyncio.current_task().cancelling()

        task = asyncio.create_task(guarded())
        await bench.clock.advance(5.0)
        assert await task == ("second", 0)


class TestDeadline:
    async def test_of_the_call_ends_all_attempts(self):
        bench = Bench((99.0, 1), (99.0, 2))
        limit = Deadline(3.0, clock=bench.clock)
        bench.handler = Pipeline(limit, bench.hedge).bind(bench.leaf)
        await bench.fails(DeadlineExceededError)
        assert sorted(bench.leaf.cancelled) == [1, 2]

    async def test_nothing_is_sent_after_it(self):
        bench = Bench((9.0, 1))
        call = Call("op", safe=True, deadline=bench.clock.monotonic() + 1.0)
        assert await bench.call(call) == 1
        assert bench.said(HedgeWithheld) == [HedgeWithheld("hedge", "the deadline comes first")]

    async def test_each_attempt_has_its_own_timeout(self):
        bench = Bench((99.0, 1), (1.5, 2))
        bench.handler = Pipeline(bench.hedge, Timeout(2.0, clock=bench.clock)).bind(bench.leaf)
        assert await bench.call() == 2


class TestDelay:
    async def test_it_is_the_live_percentile_once_there_is_one(self):
        bench = Bench(*[(0.1, n) for n in range(50)], (9.0, "slow"), (0.0, "hedge"))
        for _ in range(50):
            assert bench.hedge.delay_of("op") == 1.0
            await bench.call(seconds=0.2)
        assert bench.hedge.delay_of("op") == pytest.approx(0.1, rel=0.05)
        assert bench.hedge.delay_of("other") == 1.0
        assert await bench.call() == "hedge"

    async def test_it_keeps_within_its_limits(self):
        bench = Bench(*[(0.1, n) for n in range(3)], minimum_throughput=3, delay_max=0.05)
        for _ in range(3):
            await bench.call(seconds=0.2)
        assert bench.hedge.delay_of("op") == 0.05
        bench.hedge.reconfigure(delay_min=0.2, delay_max=0.3)
        assert bench.hedge.delay_of("op") == 0.2

    async def test_a_fast_failure_does_not_shorten_it(self):
        bench = Bench((0.01, away()), minimum_throughput=1)
        await bench.fails(UnavailableError)
        assert bench.hedge.delay_of("op") == 1.0

    @pytest.mark.parametrize("cut_short_by", ["a hedge", "its timeout", "the caller"])
    async def test_what_was_cut_short_counts_as_far_as_it_came(self, cut_short_by):
        bench = Bench((99.0, 1), (1.0 if cut_short_by == "a hedge" else 99, 2))
        bench.hedge.reconfigure(minimum_throughput=1)
        if cut_short_by == "its timeout":
            inside = Timeout(2.0, clock=bench.clock)
            bench.handler = Pipeline(bench.hedge, inside).bind(bench.leaf)
        task = bench.start()
        await bench.clock.advance(2.0)
        if cut_short_by == "the caller":
            task.cancel()
        await bench.clock.advance(2.0)
        await asyncio.gather(task, return_exceptions=True)
        assert bench.hedge.delay_of("op") == pytest.approx(2.0, rel=0.05)

    async def test_operations_are_bounded(self):
        bench = Bench()
        for number in range(200):
            bench.hedge.delay_of(f"op {number}")
        assert len(bench.hedge._latencies) == 100


class TestBudget:
    async def test_nothing_is_sent_beyond_it(self):
        bench = Bench(*[(2.0, "slow")] * 40, budget=RetryBudget(ratio=0.1, per_second=1.0))
        tasks = [bench.start() for _ in range(20)]
        await bench.clock.advance(10.0)
        assert await asyncio.gather(*tasks) == ["slow"] * 20
        assert len(bench.leaf.calls) == 20 + 2 + 1
        why = HedgeWithheld("hedge", "the hedge budget is used up")
        assert bench.said(HedgeWithheld) == [why] * 17

    async def test_it_is_a_tenth_of_the_calls_and_one_a_second_unless_said_otherwise(self):
        bench = Bench(*[(2.0, "slow")] * 40, budget=None)
        tasks = [bench.start() for _ in range(20)]
        await bench.clock.advance(10.0)
        await asyncio.gather(*tasks)
        assert len(bench.said(HedgeSent)) == 2 + 1
        later = [bench.start() for _ in range(15)]
        await bench.clock.advance(1.0)
        assert len(bench.said(HedgeSent)) == 3 + 10 + 1  # ten seconds since, and 1.5 of the 15
        await bench.clock.advance(10.0)
        await asyncio.gather(*later)

    async def test_a_target_may_have_its_own(self):
        budget = KeyedRetryBudget(ratio=0, per_second=1)
        bench = Bench(*[(2.0, "slow")] * 9, budget=budget)
        tasks = [bench.start(Call(name, safe=True)) for name in "aabb"]
        await bench.clock.advance(10.0)
        await asyncio.gather(*tasks)
        assert [event.attempt for event in bench.said(HedgeSent)] == [2, 2]


class TestForks:
    async def test_the_winner_is_adopted(self):
        bench, call = Bench(), Call("op", safe=True)
        call.attempt = 3  # a Retry outside is at its third

        async def leaf(fork):
            if fork.attempt == 3:
                fork.annotate("from", "first")
                await bench.clock.sleep(99.0)
            fork.code, fork.status, fork.retry_after = Code.NOT_FOUND, 404, 2.0
            fork.annotate("from", "second")
            return "second"

        bench.handler = Pipeline(bench.recorder, bench.hedge).bind(leaf)
        assert await bench.call(call) == "second"
        assert (call.code, call.status, call.retry_after) == (Code.NOT_FOUND, 404, 2.0)
        assert (call.reply, call.attempt) == ({"from": "second"}, 3)
        assert bench.said(HedgeWon) == [HedgeWon("hedge", 4)]

    async def test_hedges_see_the_context_of_the_call(self):
        name, bench, seen = ContextVar("name"), Bench(), []

        async def leaf(call):
            seen.append(name.get())
            await bench.clock.sleep(1.5)

        bench.handler = Pipeline(bench.hedge).bind(leaf)

        async def caller():
            name.set("caller")
            await bench.handler(Call("op", safe=True))

        task = asyncio.create_task(caller())
        await bench.clock.advance(9.0)
        await task
        assert seen == ["caller", "caller"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"percentile": 0}, "percentile must be above 0 and below 1, not 0"),
        ({"percentile": 1}, "percentile must be above 0 and below 1"),
        ({"percentile": True}, "percentile must be above 0 and below 1"),
        ({"percentile": float("nan")}, "percentile must be above 0 and below 1"),
        ({"percentile": "p95"}, "percentile must be above 0 and below 1"),
        ({"delay": 0}, "delay must be a positive number of seconds"),
        ({"delay_min": -1}, "delay_min must be a positive number of seconds"),
        ({"delay_max": float("inf")}, "delay_max must be a positive number of seconds"),
        ({"delay_min": 2, "delay_max": 1}, "delay_max must not be below delay_min"),
        ({"max_hedges": 0}, "max_hedges must be a whole number of at least 1"),
        ({"max_hedges": True}, "max_hedges must be a whole number of at least 1"),
        ({"minimum_throughput": 1.5}, "minimum_throughput must be a whole number"),
    ],
)
class TestOptions:
    def test_one_out_of_range_is_named(self, options, complaint):
        with pytest.raises(ConfigurationError, match=complaint):
            Hedge(**options)

    def test_a_wrong_change_changes_nothing(self, options, complaint):
        hedge = Hedge()
        before = repr(hedge)
        with pytest.raises(ConfigurationError, match=complaint):
            hedge.reconfigure(**{"percentile": 0.5, "delay": 9, "max_hedges": 7, **options})
        assert repr(hedge) == before


def test_the_shortest_wait_may_be_the_longest():
    assert "within 1 to 1 s" in repr(Hedge(delay_min=1, delay_max=1))


async def test_what_was_measured_counts_for_half_a_minute_unless_said_otherwise():
    bench = Bench(*[(0.1, 1)] * 2, minimum_throughput=1)
    await bench.call(seconds=0.1)
    await bench.clock.advance(29.0)
    assert bench.hedge.delay_of("op") == pytest.approx(0.1, rel=0.05)
    await bench.clock.advance(4.0)
    assert bench.hedge.delay_of("op") == 1.0


@pytest.mark.parametrize("options", [{"budget": 0.1}, {"sampling_duration": 0}])
def test_other_options_out_of_range_are_named_too(options):
    with pytest.raises(ConfigurationError, match=f"{next(iter(options))} must be"):
        Hedge(**options)


async def test_options_can_be_changed_and_what_was_measured_stays():
    bench = Bench(*[(0.1, 1)] * 8, *[(0.5, 1)] * 2, minimum_throughput=10)
    for _ in range(10):
        await bench.call(seconds=0.6)
    assert bench.hedge.delay_of("op") == pytest.approx(0.5, rel=0.05)
    bench.hedge.reconfigure(percentile=0.5)
    assert bench.hedge.delay_of("op") == pytest.approx(0.1, rel=0.05)
    bench.hedge.reconfigure(minimum_throughput=11, delay=0.7)
    assert bench.hedge.delay_of("op") == 0.7


def test_repr():
    assert repr(Hedge()) == "Hedge(p95 or 0.5 s, within 0.001 to 5 s, 1 more at most)"
