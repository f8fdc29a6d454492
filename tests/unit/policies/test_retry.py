import asyncio
from datetime import timedelta

import pytest

from prodkit import Call, Code, Pipeline, RejectedError, ServiceError, Trait
from prodkit.errors import (
    AbortedError,
    BulkheadFullError,
    CircuitOpenError,
    DeadlineExceededError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from prodkit.pipeline import traits_of
from prodkit.policies.deadline import Deadline
from prodkit.policies.retry import (
    RETRY_MARK,
    RetriesExhausted,
    Retry,
    RetryBudget,
    RetryScheduled,
)
from prodkit.policies.timeout import Timeout
from prodkit.testing import EventRecorder, ManualClock

pytestmark = pytest.mark.anyio


class Script:
    """A leaf whose attempts end as listed: an exception is raised, a Code is the call's status."""

    def __init__(self, *ends):
        self.ends = list(ends)
        self.attempts = []

    async def __call__(self, call):
        self.attempts.append((call.attempt, call.code, call.retry_after))
        end = self.ends.pop(0) if self.ends else "answer"
        if isinstance(end, Exception):
            raise end
        if isinstance(end, Code):
            call.code = end
        return end


class Bench:
    """A Retry with a clock that it cannot wait out, and what it said."""

    def __init__(self, *ends, on=Code.UNAVAILABLE, **options):
        self.clock = ManualClock()
        self.leaf = Script(*ends)
        self.recorder = EventRecorder()
        options = {"random": lambda: 1.0, **options}  # chance at its most eager: the shortest wait
        self.retry = Retry(on=on, clock=self.clock, **options)
        self.handler = Pipeline(self.recorder, self.retry).bind(self.leaf)

    async def call(self, call=None, seconds=60.0):
        task = asyncio.create_task(self.handler(call or Call("op", safe=True)))
        await self.clock.advance(seconds)
        return await task

    async def fails(self, error, call=None):
        with pytest.raises(error) as caught:
            await self.call(call)
        return caught.value

    @property
    def why(self):
        (exhausted,) = self.recorder.of(RetriesExhausted)
        return exhausted.why


def away(**options):
    return UnavailableError("away", **options)


async def test_a_first_try_that_succeeds_is_all():
    bench = Bench()
    assert await bench.call() == "answer"
    assert len(bench.leaf.attempts) == 1
    assert bench.recorder.events == []


async def test_failures_that_on_names_are_repeated():
    bench = Bench(away(), ConnectionError())
    assert await bench.call() == "answer"
    assert [number for number, *_ in bench.leaf.attempts] == [1, 2, 3]
    assert bench.recorder.of(RetryScheduled) == [
        RetryScheduled("retry", 1, Code.UNAVAILABLE, pytest.approx(0.1)),
        RetryScheduled("retry", 2, Code.UNAVAILABLE, pytest.approx(0.1)),
    ]


async def test_the_last_failure_comes_back_with_a_note_and_a_mark():
    last = away(metadata={"zone": "b"})
    bench = Bench(away(), away(), last)
    assert await bench.fails(UnavailableError) is last
    assert last.__notes__ == ["Retry: gave up after 3 attempts: no attempts left"]
    assert last.metadata == {"zone": "b", RETRY_MARK: "exhausted"}
    assert bench.recorder.events[-1] == RetriesExhausted(
        "retry", 3, Code.UNAVAILABLE, "no attempts left"
    )


async def test_other_failures_are_not_repeated():
    bench = Bench(NotFoundError("gone"))
    error = await bench.fails(NotFoundError)
    assert len(bench.leaf.attempts) == 1
    assert not hasattr(error, "__notes__")


async def test_a_repeat_that_fails_otherwise_says_which_attempt_it_was():
    bench = Bench(away(), NotFoundError("gone"))
    error = await bench.fails(NotFoundError)
    assert error.__notes__ == ["Retry: this was attempt 2"]
    assert RETRY_MARK not in error.metadata


class TestWhatMayBeRepeated:
    @pytest.mark.parametrize("safe", [None, False])
    async def test_a_call_that_may_not_repeat_runs_once(self, safe):
        bench = Bench(away())
        error = await bench.fails(UnavailableError, Call("op", safe=safe))
        assert len(bench.leaf.attempts) == 1
        assert RETRY_MARK not in error.metadata
        assert bench.recorder.events == []

    async def test_a_call_with_a_key_may(self):
        bench = Bench(away())
        assert await bench.call(Call("op", safe=False, key="k-1")) == "answer"

    async def test_a_stream_that_began_may_not(self):
        bench = Bench()

        async def leaf(call):
            bench.leaf.attempts.append(1)
            call.first_message()
            raise away()

        bench.handler = Pipeline(bench.retry).bind(leaf)
        await bench.fails(UnavailableError)
        assert len(bench.leaf.attempts) == 1

    def test_doors_see_that_it_repeats(self):
        assert traits_of(Retry(on=Code.UNAVAILABLE)) == Trait.REPEATS


class TestOn:
    @pytest.mark.parametrize(
        ("on", "error"),
        [
            (Code.ABORTED, AbortedError("x")),
            (AbortedError, AbortedError("x")),
            (ServiceError, AbortedError("x")),
            ([Code.UNAVAILABLE, LookupError], LookupError("x")),
            ({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}, TimeoutError()),
            (lambda call, error: call.operation == "op" and error is not None, KeyError("x")),
        ],
    )
    async def test_it_names_types_codes_both_or_a_predicate(self, on, error):
        assert await Bench(error, on=on).call() == "answer"

    async def test_a_code_names_results_too(self):
        bench = Bench(Code.UNAVAILABLE, Code.UNAVAILABLE)
        assert await bench.call() == "answer"
        assert bench.leaf.attempts == [(n, Code.OK, None) for n in (1, 2, 3)]

    async def test_a_result_of_another_code_is_returned(self):
        assert await Bench(Code.NOT_FOUND).call() is Code.NOT_FOUND

    async def test_a_predicate_sees_good_results_too(self):
        bench = Bench(
            "not yet", on=lambda _call, error: error is None and not bench.recorder.events
        )
        assert await bench.call() == "answer"

    async def test_the_last_failed_result_is_returned_with_its_status(self):
        bench = Bench(*[Code.UNAVAILABLE] * 3)
        call = Call("op", safe=True)
        assert await bench.call(call) is Code.UNAVAILABLE
        assert call.code is Code.UNAVAILABLE
        assert bench.why == "no attempts left"

    @pytest.mark.parametrize(
        "on", [(), [BaseException], asyncio.CancelledError, "503", Code.OK, [Code.CANCELLED], [14]]
    )
    def test_it_must_name_something_that_can_fail(self, on):
        with pytest.raises(ValueError, match="on must be exception types, codes other than"):
            Retry(on=on)

    async def test_cancelled_by_code_is_never_repeated(self):
        bench = Bench(ServiceError("x", code=Code.CANCELLED), on=ServiceError)
        await bench.fails(ServiceError)
        assert len(bench.leaf.attempts) == 1


class TestWaits:
    async def waits(self, *rolls, **options):
        options = {"attempts": len(rolls) + 1, **options}
        bench = Bench(*[away()] * len(rolls), random=iter(rolls).__next__, **options)
        await bench.call()
        return [event.wait for event in bench.recorder.of(RetryScheduled)]

    async def test_jitter_is_decorrelated(self):
        assert await self.waits(0.0, 1.0, 0.5, wait_initial=1.0) == [3.0, 1.0, 2.0]

    async def test_they_are_capped(self):
        options = {"wait_initial": 1.0, "wait_max": timedelta(seconds=4)}
        assert await self.waits(0.0, 0.0, 0.0, **options) == [3.0, 4.0, 4.0]

    async def test_without_jitter_they_are_the_longest(self):
        assert await self.waits(0.9, 0.9, wait_initial=0.5, wait_jitter=0.0) == [1.5, 4.5]

    async def test_nothing_happens_before_the_wait_is_over(self):
        bench = Bench(away(), wait_initial=1.0)
        task = asyncio.create_task(bench.handler(Call("op", safe=True)))
        await bench.clock.advance(0.999)
        assert len(bench.leaf.attempts) == 1
        await bench.clock.advance(0.001)
        assert await task == "answer"

    async def test_cancellation_ends_the_wait_at_once(self):
        bench = Bench(away())
        task = asyncio.create_task(bench.handler(Call("op", safe=True)))
        await bench.clock.settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(bench.leaf.attempts) == 1


class TestRetryAfter:
    async def test_an_error_that_asks_for_more_gets_it(self):
        bench = Bench(away(retry_after=2.0))
        await bench.call()
        assert bench.recorder.of(RetryScheduled)[0].wait == 2.0

    async def test_one_that_asks_for_less_waits_as_usual(self):
        bench = Bench(away(retry_after=0.01))
        await bench.call()
        assert bench.recorder.of(RetryScheduled)[0].wait == pytest.approx(0.1)

    async def test_a_door_may_say_it_on_the_call(self):
        bench = Bench()

        async def leaf(call):
            if call.attempt == 1:
                call.code, call.retry_after = Code.UNAVAILABLE, 3.0
            return call.retry_after

        bench.handler = Pipeline(bench.recorder, bench.retry).bind(leaf)
        assert await bench.call() is None
        assert bench.recorder.of(RetryScheduled)[0].wait == 3.0

    async def test_more_than_wait_max_is_not_waited_for(self):
        bench = Bench(away(retry_after=6.0), wait_max=5.0)
        await bench.fails(UnavailableError)
        assert bench.why == "the callee asked for 6 s, more than wait_max"

    async def test_less_than_zero_means_do_not(self):
        bench = Bench(away(retry_after=-1.0))
        await bench.fails(UnavailableError)
        assert bench.why == "the callee asked not to repeat"


class TestDeadline:
    async def test_what_cannot_end_in_time_is_not_begun(self):
        bench = Bench(away(), wait_initial=1.0)
        await bench.fails(UnavailableError, Call("op", safe=True, deadline=1001.0))
        assert bench.why == "the deadline comes first"
        assert bench.clock.monotonic() == 1060.0

    async def test_what_can_is(self):
        bench = Bench(away(), wait_initial=1.0)
        assert await bench.call(Call("op", safe=True, deadline=1001.5)) == "answer"

    async def test_16_nothing_starts_after_the_deadline_even_if_the_wait_took_longer(self):
        bench = Bench(away(), wait_initial=1.0)

        class Late:
            monotonic = staticmethod(bench.clock.monotonic)

            async def sleep(self, seconds):
                await bench.clock.sleep(seconds + 1.0)

        bench.retry._clock = Late()
        await bench.fails(UnavailableError, Call("op", safe=True, deadline=1001.5))
        assert bench.why == "the deadline comes first"
        assert len(bench.leaf.attempts) == 1

    async def test_each_attempt_has_its_timeout_within_the_deadline_of_all(self):
        clock, started = ManualClock(), []

        async def hang(call):
            started.append(clock.monotonic())
            await asyncio.Event().wait()

        pipeline = Pipeline(
            Deadline(4.5, clock=clock),
            Retry(on=DeadlineExceededError, wait_initial=0.5, clock=clock, random=lambda: 1.0),
            Timeout(1.0, clock=clock),
        )
        task = asyncio.create_task(pipeline.bind(hang)(Call("op", safe=True)))
        await clock.advance(10.0)
        with pytest.raises(DeadlineExceededError, match="within 1 s"):
            await task
        assert started == [1000.0, 1001.5, 1003.0]


class TestBudget:
    async def test_16_a_storm_stays_within_its_budget(self):
        budget = RetryBudget(ratio=0.2, per_second=10)
        bench = Bench(*[away()] * 2000, budget=budget, attempts=3)
        calls = [asyncio.create_task(bench.handler(Call("op", safe=True))) for _ in range(200)]
        await bench.clock.advance(1.0)
        assert await asyncio.gather(*calls, return_exceptions=True)
        assert 200 < len(bench.leaf.attempts) <= 200 * 1.2 + 10 * 2
        assert "the retry budget is used up" in {
            event.why for event in bench.recorder.of(RetriesExhausted)
        }

    async def test_it_may_be_shared(self):
        budget = RetryBudget(ratio=0, per_second=1)
        first, second = Bench(away(), budget=budget), Bench(away(), budget=budget)
        await first.call(seconds=0.5)
        await second.fails(UnavailableError)
        assert second.why == "the retry budget is used up"


class TestMark:
    async def test_16_only_the_hop_next_to_the_failure_repeats(self):
        clock = ManualClock()
        leaf = Script(*[away() for _ in range(27)])
        hop = Pipeline(Retry(on=Code.UNAVAILABLE, clock=clock))

        @hop(safe=True)
        async def lowest():
            return await leaf(Call("leaf"))

        @hop(safe=True)
        async def middle():
            return await lowest()

        @hop(safe=True)
        async def highest():
            return await middle()

        task = asyncio.create_task(highest())
        await clock.advance(60.0)
        with pytest.raises(UnavailableError):
            await task
        assert len(leaf.attempts) == 3

    async def test_any_exception_can_be_marked(self):
        inner = Bench(*[ConnectionError()] * 9)
        error = await inner.fails(ConnectionError)
        outer = Bench(error, error)
        await outer.fails(ConnectionError)
        assert len(outer.leaf.attempts) == 1

    async def test_a_mark_that_came_over_the_wire_is_read(self):
        bench = Bench(away(metadata={RETRY_MARK: "exhausted"}))
        await bench.fails(UnavailableError)
        assert len(bench.leaf.attempts) == 1


class TestRejections:
    @staticmethod
    def refusing(kind, times, then=None):
        attempts = []

        async def leaf(call):
            attempts.append(call.attempt)
            if len(attempts) <= times:
                raise kind("no", call=call, policy="p", measured=1, threshold=1)
            if then is not None:
                raise then
            return "answer"

        return leaf, attempts

    @pytest.mark.parametrize("on", [Code.UNAVAILABLE, ServiceError, Exception])
    async def test_a_refusal_of_this_call_is_not_repeated(self, on):
        bench = Bench(on=on)
        leaf, attempts = self.refusing(CircuitOpenError, 1)
        bench.handler = Pipeline(bench.retry).bind(leaf)
        await bench.fails(CircuitOpenError)
        assert attempts == [1]

    @pytest.mark.parametrize("on", [RejectedError, [Code.ABORTED, BulkheadFullError]])
    async def test_unless_on_names_it(self, on):
        bench = Bench(on=on)
        leaf, attempts = self.refusing(BulkheadFullError, 2)
        bench.handler = Pipeline(bench.retry).bind(leaf)
        assert await bench.call() == "answer"
        assert attempts == [1, 2, 3]

    async def test_a_refusal_of_a_call_made_for_us_counts_as_unavailable(self):
        inner = RateLimitedError("no", call=Call("in"), policy="p", measured=1, threshold=1)
        assert await Bench(inner).call() == "answer"

    async def test_a_refused_repeat_does_not_hide_that_an_attempt_ran(self):
        bench, ran = Bench(), away()

        async def leaf(call):
            if call.attempt == 1:
                raise ran
            raise CircuitOpenError("open", call=call, policy="p", measured=1, threshold=1)

        bench.handler = Pipeline(bench.recorder, bench.retry).bind(leaf)
        assert await bench.fails(UnavailableError) is ran
        assert bench.why == "the last attempt was refused"

    async def test_nor_that_it_had_a_result(self):
        bench = Bench(Code.UNAVAILABLE)
        call = Call("op", safe=True)

        async def leaf(call):
            if call.attempt == 1:
                call.code, call.retry_after = Code.UNAVAILABLE, 0.5
                return "a 503"
            raise CircuitOpenError("open", call=call, policy="p", measured=1, threshold=1)

        bench.handler = Pipeline(bench.retry).bind(leaf)
        assert await bench.call(call) == "a 503"
        assert (call.code, call.retry_after) == (Code.UNAVAILABLE, 0.5)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"attempts": 0}, "attempts must be a number of at least 1, not 0"),
        ({"attempts": 1.5}, "attempts must be a number of at least 1"),
        ({"wait_initial": 0}, "wait_initial must be a positive number of seconds"),
        ({"wait_max": -1}, "wait_max must be a positive number of seconds"),
        ({"wait_initial": 2, "wait_max": 1}, "wait_max must not be below wait_initial"),
        ({"wait_jitter": 1.1}, "wait_jitter must be 0 to 1, not 1.1"),
    ],
)
def test_an_option_out_of_range_is_named(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        Retry(on=Code.UNAVAILABLE, **options)


def test_repr():
    assert repr(Retry(on=Code.UNAVAILABLE)) == "Retry(attempts=3)"
