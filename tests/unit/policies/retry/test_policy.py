import asyncio
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import pytest

from prodkit import Call, Code, Kind, Pipeline, RejectedError, ServiceError, Trait
from prodkit.call import CURRENT
from prodkit.errors import (
    AbortedError,
    BulkheadFullError,
    CircuitOpenError,
    ConfigurationError,
    DeadlineExceededError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from prodkit.policies.deadline import Deadline
from prodkit.policies.retry import (
    RETRY_MARK,
    KeyedRetryBudget,
    RetriesExhausted,
    Retry,
    RetryBudget,
    RetryScheduled,
)
from prodkit.policies.timeout import Timeout
from prodkit.testing import EventRecorder, ManualClock
from prodkit.traits import traits_of

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


async def test_one_attempt_is_one():
    bench = Bench(away(), attempts=1)
    assert repr(bench.retry).startswith("Retry(UNAVAILABLE, 1 attempt, ")
    error = await bench.fails(UnavailableError)
    assert error.__notes__ == ["Retry: gave up after 1 attempt: no attempts left"]
    bench.retry.reconfigure(attempts=2)
    assert repr(bench.retry).startswith("Retry(UNAVAILABLE, 2 attempts, ")


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
        "on",
        [(), [BaseException], asyncio.CancelledError, "503", Code.OK, [Code.CANCELLED], [14], None],
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

    async def test_one_that_asks_for_nothing_is_not_held_against_a_short_wait_max(self):
        bench = Bench(away(), wait_initial=0.1, wait_max=0.2)
        assert await bench.call() == "answer"

    async def test_less_than_zero_means_do_not(self):
        bench = Bench(away(retry_after=-1.0))
        await bench.fails(UnavailableError)
        assert bench.why == "the callee asked not to repeat"


class TestDeadline:
    async def test_what_cannot_end_in_time_is_not_begun(self):
        bench = Bench(away(), wait_initial=1.0)
        await bench.fails(UnavailableError, Call("op", safe=True, deadline=1001.0))
        assert bench.why == "the deadline comes first"
        assert bench.recorder.of(RetryScheduled) == []  # it did not even wait
        assert bench.clock.monotonic() == 1060.0

    async def test_and_takes_nothing_from_the_budget(self):
        bench = Bench(away(), away(), wait_initial=1.0, budget=RetryBudget(0, 1))
        await bench.fails(UnavailableError, Call("op", safe=True, deadline=1001.0))
        assert await bench.call() == "answer"

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

    async def test_every_call_pays_its_share_and_so_does_time(self):
        bench = Bench(budget=RetryBudget(ratio=0.5, per_second=0.1), attempts=9)
        for _ in range(10):
            await bench.call(seconds=0.0)
        bench.leaf.ends = [away()] * 9
        await bench.fails(UnavailableError)
        assert len(bench.recorder.of(RetryScheduled)) == 5  # of eleven calls
        bench.leaf.ends = [away()] * 20
        await bench.clock.advance(20.0)
        await bench.fails(UnavailableError)
        assert len(bench.recorder.of(RetryScheduled)) == 5 + 9 - 1

    async def test_a_target_that_is_down_leaves_the_others_theirs(self):
        bench = Bench(
            away(), away(), away(), budget=KeyedRetryBudget(ratio=0, per_second=1), attempts=2
        )
        await bench.fails(UnavailableError, Call("down", safe=True))
        assert bench.why == "no attempts left"
        assert await bench.call(Call("up", safe=True), seconds=0.5) == "answer"

    async def test_it_may_be_a_function_of_the_call(self):
        budgets = {"a": RetryBudget(0, 0), "b": RetryBudget(0, 1)}
        bench = Bench(away(), away(), budget=lambda call: budgets[call.operation])
        await bench.fails(UnavailableError, Call("a", safe=True))
        assert bench.why == "the retry budget is used up"
        assert await bench.call(Call("b", safe=True)) == "answer"

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
        outer = Pipeline(Retry(on=ConnectionError, clock=inner.clock)).bind(inner.handler)
        task = asyncio.create_task(outer(Call("op", safe=True)))
        await inner.clock.advance(60.0)
        with pytest.raises(ConnectionError):
            await task
        assert len(inner.leaf.attempts) == 3

    @pytest.mark.parametrize("kind", [ConnectionError, UnavailableError])
    async def test_an_error_that_is_raised_for_ever_bears_no_mark_of_earlier_calls(self, kind):
        constant = kind("away")
        for _ in range(3):
            bench = Bench(constant, constant, constant)
            await bench.fails(kind)
            assert len(bench.leaf.attempts) == 3
        assert constant.__notes__ == ["Retry: gave up after 3 attempts: no attempts left"]

    async def test_an_error_that_takes_no_notes_comes_back_too(self):
        @dataclass(frozen=True)
        class FrozenError(Exception):
            zone: str

        bench = Bench(*[FrozenError("b")] * 3, on=FrozenError)
        assert await bench.fails(FrozenError) == FrozenError("b")
        assert len(bench.leaf.attempts) == 3

    @pytest.mark.parametrize(
        "end",
        [away(), ConnectionError(), Code.UNAVAILABLE, away(metadata={RETRY_MARK: "exhausted"})],
    )
    @pytest.mark.parametrize("edge", [False, True])
    async def test_the_answer_to_the_call_being_served_is_marked_unless_a_stranger_gets_it(
        self, end, edge
    ):
        bench, inbound = Bench(*[end] * 3), Call("GET /", Kind.SERVER, edge=edge)

        async def handler():
            CURRENT.set(inbound)
            await bench.handler(Call("op", safe=True))

        task = asyncio.create_task(handler())
        await bench.clock.advance(60.0)
        await asyncio.gather(task, return_exceptions=True)
        assert inbound.reply == (None if edge else {"x-prodkit-retry": "exhausted"})

    async def test_an_answer_that_came_in_the_end_marks_nothing(self):
        bench, inbound = Bench(away()), Call("GET /", Kind.SERVER)

        async def handler():
            CURRENT.set(inbound)
            return await bench.handler(Call("op", safe=True))

        task = asyncio.create_task(handler())
        await bench.clock.advance(60.0)
        assert await task == "answer"
        assert inbound.reply is None

    async def test_a_mark_that_came_over_the_wire_is_read(self):
        bench = Bench(away(metadata={RETRY_MARK: "exhausted"}))
        await bench.fails(UnavailableError)
        assert len(bench.leaf.attempts) == 1

    @staticmethod
    def translated(kind, marked):
        """Return an error that was made of `marked`, as handlers make them."""
        error = UnavailableError("translated")
        match kind:
            case "from":
                error.__cause__ = marked
            case "while handling":
                error.__context__ = marked
            case "twice":
                error.__cause__ = middle = ValueError("in between")
                middle.__context__ = marked
            case "in a circle":
                error.__context__, marked.__context__ = marked, error
            case "in a group":
                error.__cause__ = ExceptionGroup("tasks", [ValueError(), marked])
        return error

    @pytest.mark.parametrize(
        "kind", ["from", "while handling", "twice", "in a circle", "in a group"]
    )
    async def test_the_mark_outlasts_a_translation(self, kind):
        marked = away(metadata={RETRY_MARK: "exhausted"})
        bench = Bench(self.translated(kind, marked))
        await bench.fails(UnavailableError)
        assert len(bench.leaf.attempts) == 1

    async def test_a_group_with_what_was_repeated_in_vain_is_not_repeated(self):
        group = ExceptionGroup("tasks", [away(metadata={RETRY_MARK: "exhausted"})])
        bench = Bench(group, on=ExceptionGroup)
        await bench.fails(ExceptionGroup)
        assert len(bench.leaf.attempts) == 1

    async def test_errors_that_go_round_in_circles_without_a_mark_are_repeated(self):
        bench = Bench(self.translated("in a circle", ValueError()))
        assert await bench.call() == "answer"

    async def test_only_so_much_is_looked_through_for_a_mark(self):
        error = marked = away(metadata={RETRY_MARK: "exhausted"})
        for _ in range(100):
            outer = away()
            outer.__cause__, error = error, outer
        bench = Bench(error)
        assert await bench.call() == "answer"
        assert marked.metadata

    @pytest.mark.parametrize("failures", [1, 2])
    async def test_what_failed_before_the_call_began_does_not_mark_it(self, failures):
        bench = Bench()
        raised = [away() for _ in range(failures)]

        async def second_choice(call):
            bench.leaf.attempts.append(call.attempt)
            if raised:
                raise raised.pop()
            return "answer"

        bench.handler = Pipeline(bench.retry).bind(second_choice)

        async def handler():
            try:
                raise away(metadata={RETRY_MARK: "exhausted"})
            except UnavailableError:
                return await bench.handler(Call("op", safe=True))

        task = asyncio.create_task(handler())
        await bench.clock.advance(60.0)
        assert await task == "answer"
        assert len(bench.leaf.attempts) == failures + 1


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
        assert bench.recorder.of(RetriesExhausted) == [
            RetriesExhausted("retry", 2, Code.UNAVAILABLE, "the last attempt was refused")
        ]

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
        ({"attempts": 0}, "attempts must be a whole number of at least 1, not 0"),
        ({"attempts": 1.5}, "attempts must be a whole number of at least 1"),
        ({"attempts": True}, "attempts must be a whole number of at least 1"),
        ({"on": 3}, "on must be exception types, codes .* not 3"),
        ({"backoff": "linear"}, "backoff must be one of 'constant', 'exponential', 'decorrelated'"),
        ({"backoff": ["constant"]}, "backoff must be one of"),
        ({"wait_initial": 0}, "wait_initial must be a positive number of seconds"),
        ({"wait_max": -1}, "wait_max must be a positive number of seconds"),
        ({"wait_initial": 10}, "wait_max must not be below wait_initial .10 s., not 5 s"),
        (
            {"wait_initial": 2, "wait_max": 1},
            "wait_max must not be below wait_initial .2 s., not 1 s",
        ),
        ({"wait_jitter": 1.1}, "wait_jitter must be 0 to 1, not 1.1"),
        ({"wait_jitter": float("nan")}, "wait_jitter must be 0 to 1, not nan"),
        ({"wait_jitter": True}, "wait_jitter must be 0 to 1, not True"),
        ({"wait_jitter": "all"}, "wait_jitter must be 0 to 1, not 'all'"),
        ({"budget": 0.2}, "budget must be a RetryBudget"),
    ],
)
class TestOptions:
    def test_one_out_of_range_is_named(self, options, complaint):
        with pytest.raises(ConfigurationError, match=complaint):
            Retry(**{"on": Code.UNAVAILABLE, **options})

    def test_a_wrong_change_changes_nothing(self, options, complaint):
        if "budget" in options:
            return
        retry = Retry(on=Code.UNAVAILABLE)
        before = repr(retry)
        with pytest.raises(ConfigurationError, match=complaint):
            retry.reconfigure(**{"attempts": 9, "on": LookupError, "wait_initial": 0.5, **options})
        assert repr(retry) == before


class TestReconfigure:
    def test_what_is_not_given_stays(self):
        retry = Retry(on=Code.UNAVAILABLE, wait_initial=0.5, wait_jitter=0.3)
        retry.reconfigure(attempts=5)
        assert repr(retry) == "Retry(UNAVAILABLE, 5 attempts, decorrelated 0.5 to 5 s)"
        retry.reconfigure(backoff="constant", wait_max=timedelta(seconds=1))
        assert repr(retry) == "Retry(UNAVAILABLE, 5 attempts, constant 0.5 to 1 s)"

    async def test_it_holds_for_calls_under_way(self):
        bench = Bench(away(), away(), away())
        task = asyncio.create_task(bench.handler(Call("op", safe=True)))
        await bench.clock.settle()
        bench.retry.reconfigure(attempts=2)
        await bench.clock.advance(60.0)
        with pytest.raises(UnavailableError):
            await task
        assert len(bench.leaf.attempts) == 2

    async def test_on_can_be_changed(self):
        bench = Bench(away(), on=LookupError)
        bench.retry.reconfigure(on=Code.UNAVAILABLE)
        assert await bench.call() == "answer"


class TestRepr:
    @pytest.mark.parametrize(
        ("on", "shown"),
        [
            (Code.UNAVAILABLE, "UNAVAILABLE"),
            ([LookupError, Code.INTERNAL, Code.ABORTED], "ABORTED, INTERNAL, LookupError"),
            (away, "away"),
            (partial(away), "a predicate"),
        ],
    )
    def test_it_shows_the_options(self, on, shown):
        assert repr(Retry(on=on)) == f"Retry({shown}, 3 attempts, decorrelated 0.1 to 5 s)"


def test_a_predicate_that_nobody_would_await_is_refused():
    async def predicate(call, error):
        return True

    with pytest.raises(ConfigurationError, match="on must be a plain function"):
        Retry(on=predicate)


class TestCheck:
    """`Pipeline.check` knows what a Retry can take."""

    @staticmethod
    def doubts(deadline, **options):
        retry = Retry(on=TimeoutError, **options)
        return [str(f) for f in Pipeline(Deadline(deadline), retry, Timeout(1.0)).check()]

    def test_retries_beyond_the_deadline_are_a_doubt(self):
        (doubt,) = self.doubts(4.0)
        assert doubt.startswith("Deadline leaves 4 s to what takes 4.2 s with all its attempts")

    def test_what_fits_is_none(self):
        assert self.doubts(4.2) == []
        assert self.doubts(4.0, backoff="constant") == []

    def test_it_follows_a_change(self):
        retry = Retry(on=TimeoutError)
        pipeline = Pipeline(Deadline(4.0), retry, Timeout(1.0))
        retry.reconfigure(attempts=2)
        assert pipeline.check() == []
        assert (retry.attempts, retry.longest_wait) == (2, pytest.approx(0.3))


async def test_an_attempt_that_timed_out_is_a_timeout_error():
    clock, started = ManualClock(), []

    async def hang_once(call):
        started.append(call.attempt)
        if call.attempt == 1:
            await asyncio.Event().wait()
        return "answer"

    pipeline = Pipeline(Retry(on=TimeoutError, clock=clock), Timeout(1.0, clock=clock))
    task = asyncio.create_task(pipeline.bind(hang_once)(Call("op", safe=True)))
    await clock.advance(10.0)
    assert await task == "answer"
    assert started == [1, 2]
