import asyncio
from datetime import timedelta

import pytest

from prodkit import Call, Code, Pipeline, RejectedError
from prodkit.errors import (
    BulkheadFullError,
    CircuitOpenError,
    NotFoundError,
    ServiceError,
    UnavailableError,
)
from prodkit.policies.circuit_breaker import (
    CallRejected,
    CircuitBreaker,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    State,
    default_is_failure,
)
from prodkit.testing import EventRecorder, ManualClock

pytestmark = pytest.mark.anyio


class Dependency:
    """A leaf that answers as told and can be held."""

    def __init__(self):
        self.reached = 0
        self.error = None
        self.code = Code.OK
        self.gate = None

    async def __call__(self, call):
        self.reached += 1
        if self.gate is not None:
            await self.gate.wait()
        call.code = self.code
        if self.error is not None:
            raise self.error
        return "answer"


class Bench:
    """A breaker with its clock, what it guards and what it said."""

    def __init__(self, **options):
        self.clock = ManualClock()
        self.dependency = Dependency()
        self.recorder = EventRecorder()
        options = {"consecutive_failures": 2, **options}
        self.breaker = CircuitBreaker("payments", clock=self.clock, **options)
        self.handler = Pipeline(self.recorder, self.breaker).bind(self.dependency)

    async def call(self, **options):
        return await self.handler(Call("op", **options))

    async def fail(self, times=1, error=None):
        self.dependency.error = error or UnavailableError("away")
        for _ in range(times):
            with pytest.raises(type(self.dependency.error)):
                await self.call()
        self.dependency.error = None

    async def half_open(self):
        await self.fail(2)
        await self.clock.advance(5.0)
        self.recorder.clear()


async def test_good_calls_pass_and_leave_it_closed():
    bench = Bench()
    assert await bench.call() == "answer"
    assert bench.breaker.state is State.CLOSED
    assert bench.recorder.events == []


async def test_an_open_circuit_refuses_and_explains():
    bench = Bench()
    await bench.fail(2)
    assert bench.breaker.state is State.OPEN
    await bench.clock.advance(2.0)
    call = Call("op")
    with pytest.raises(CircuitOpenError, match="'payments' is open") as caught:
        await bench.handler(call)
    error = caught.value
    assert error.refuses(call)
    assert (error.policy, error.measured, error.threshold) == ("circuit_breaker", 2, 2)
    assert (error.retry_after, error.code) == (3.0, Code.UNAVAILABLE)
    assert bench.dependency.reached == 2
    assert bench.recorder.events == [
        CircuitOpened("circuit_breaker", "payments", 2, 2, 5.0),
        CallRejected("circuit_breaker", "payments", State.OPEN, 2, 2, 3.0),
    ]


async def test_nobody_needs_to_listen():
    bench = Bench()
    bench.handler = Pipeline(bench.breaker).bind(bench.dependency)
    await bench.fail(2)
    with pytest.raises(CircuitOpenError):
        await bench.call()


async def test_the_ratio_mode_measures_a_ratio():
    bench = Bench(consecutive_failures=None, failure_ratio=0.5, minimum_throughput=4)
    await bench.call()
    await bench.call()
    await bench.fail(2)
    with pytest.raises(CircuitOpenError) as caught:
        await bench.call()
    assert (caught.value.measured, caught.value.threshold) == (0.5, 0.5)


async def test_the_ratio_forgets_what_is_older_than_the_sampling_duration():
    bench = Bench(
        consecutive_failures=None, minimum_throughput=4, sampling_duration=timedelta(seconds=10)
    )
    await bench.fail(3)
    await bench.clock.advance(10.0)
    await bench.fail(3)
    assert bench.breaker.state is State.CLOSED


async def test_a_probe_that_succeeds_closes_it():
    bench = Bench()
    await bench.half_open()
    assert await bench.call() == "answer"
    assert bench.breaker.state is State.CLOSED
    assert bench.recorder.events == [
        CircuitHalfOpened("circuit_breaker", "payments", 1),
        CircuitClosed("circuit_breaker", "payments"),
    ]


async def test_a_probe_that_fails_opens_it_again():
    bench = Bench()
    await bench.half_open()
    await bench.fail(1)
    assert bench.breaker.state is State.OPEN
    assert bench.recorder.of(CircuitOpened) == [
        CircuitOpened("circuit_breaker", "payments", 2, 2, 5.0)
    ]


async def test_13_exactly_five_of_a_thousand_callers_reach_the_dependency():
    bench = Bench(half_open_probes=5)
    await bench.half_open()
    bench.dependency.reached, bench.dependency.gate = 0, asyncio.Event()
    callers = [asyncio.create_task(bench.call()) for _ in range(1000)]
    await bench.clock.settle()
    assert bench.dependency.reached == 5
    bench.dependency.gate.set()
    ended = await asyncio.gather(*callers, return_exceptions=True)
    refused = [e for e in ended if isinstance(e, CircuitOpenError)]
    assert bench.dependency.reached == ended.count("answer") == 5
    assert len(refused) == 995
    assert {(e.measured, e.threshold, e.retry_after) for e in refused} == {(5, 5, 5.0)}
    assert "half-open" in str(refused[0])
    assert bench.breaker.state is State.CLOSED


async def test_14_cancelled_probes_give_their_permits_back():
    bench = Bench()
    await bench.half_open()
    bench.dependency.reached, bench.dependency.gate = 0, asyncio.Event()
    for _ in range(3):
        probe = asyncio.create_task(bench.call())
        await bench.clock.settle()
        with pytest.raises(CircuitOpenError):
            await bench.call()
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
    assert bench.dependency.reached == 3
    assert bench.breaker.state is State.HALF_OPEN


async def test_14_a_stuck_probe_makes_room_and_its_late_result_does_not_count():
    bench = Bench(probe_timeout=30.0)
    await bench.half_open()
    bench.dependency.gate = stuck_gate = asyncio.Event()
    stuck = asyncio.create_task(bench.call())
    await bench.clock.advance(30.0)
    bench.dependency.gate = asyncio.Event()
    probe = asyncio.create_task(bench.call())
    await bench.clock.settle()
    stuck_gate.set()
    assert await stuck == "answer"
    assert bench.breaker.state is State.HALF_OPEN
    with pytest.raises(CircuitOpenError):
        await bench.call()
    bench.dependency.gate.set()
    await probe
    assert bench.breaker.state is State.CLOSED


@pytest.mark.parametrize("late_error", [None, UnavailableError("away")])
async def test_14_a_late_result_of_a_call_from_before_the_trip_changes_nothing(late_error):
    bench = Bench()
    bench.dependency.gate = gate = asyncio.Event()
    late = asyncio.create_task(bench.call())
    await bench.clock.settle()
    bench.dependency.gate = None
    await bench.half_open()
    bench.dependency.gate = asyncio.Event()
    probe = asyncio.create_task(bench.call())
    await bench.clock.settle()
    bench.dependency.error = late_error
    gate.set()
    await asyncio.gather(late, return_exceptions=True)
    assert bench.breaker.state is State.HALF_OPEN
    with pytest.raises(CircuitOpenError):
        await bench.call()
    bench.dependency.error = None
    bench.dependency.gate.set()
    await probe
    assert bench.breaker.state is State.CLOSED


async def test_client_cancellations_never_trip():
    bench = Bench(consecutive_failures=1)
    bench.dependency.gate = asyncio.Event()
    for _ in range(5):
        task = asyncio.create_task(bench.call())
        await bench.clock.settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert bench.breaker.state is State.CLOSED


async def test_a_cancelled_status_is_neither_success_nor_failure():
    bench = Bench()
    await bench.fail(1)
    await bench.fail(3, ServiceError("the caller went away", code=Code.CANCELLED))
    bench.dependency.code = Code.CANCELLED
    await bench.call()
    bench.dependency.code = Code.OK
    assert bench.breaker.state is State.CLOSED
    await bench.fail(1)  # the second in a row: nothing between them counted as a success
    assert bench.breaker.state is State.OPEN


async def test_a_status_without_an_exception_counts():
    bench = Bench()
    bench.dependency.code = Code.UNAVAILABLE
    await bench.call()
    await bench.call()
    assert bench.breaker.state is State.OPEN


async def test_what_the_caller_did_wrong_is_a_success_of_the_callee():
    bench = Bench()
    await bench.fail(1)
    await bench.fail(1, NotFoundError("no such thing"))
    bench.dependency.code = Code.INVALID_ARGUMENT
    await bench.call()
    bench.dependency.code = Code.OK
    await bench.fail(1)
    assert bench.breaker.state is State.CLOSED


async def test_a_refusal_of_this_call_further_in_is_neither():
    bench = Bench()

    async def refuse(call):
        raise BulkheadFullError("full", call=call, policy="bulkhead", measured=1, threshold=1)

    handler = Pipeline(bench.breaker).bind(refuse)
    for _ in range(5):
        with pytest.raises(BulkheadFullError):
            await handler(Call("op"))
    assert bench.breaker.state is State.CLOSED
    await bench.half_open()
    for _ in range(3):  # the probe did not run: its permit is back
        with pytest.raises(BulkheadFullError):
            await handler(Call("op"))
    assert bench.breaker.state is State.HALF_OPEN


async def test_a_refusal_of_another_call_is_a_failure():
    bench = Bench(consecutive_failures=1)
    inner = RejectedError(
        "no", call=Call("inner"), policy="p", measured=1, threshold=1, code=Code.RESOURCE_EXHAUSTED
    )
    await bench.fail(1, inner)
    assert bench.breaker.state is State.OPEN


async def test_isolated_by_hand_until_reset():
    bench = Bench()
    bench.breaker.isolate()
    assert bench.breaker.state is State.ISOLATED
    with pytest.raises(CircuitOpenError, match="isolated by hand") as caught:
        await bench.call()
    assert caught.value.retry_after is None
    bench.breaker.reset()
    assert await bench.call() == "answer"


async def test_failure_is_what_the_user_says_it_is():
    bench = Bench(is_failure=lambda call, error: isinstance(error, NotFoundError))
    await bench.fail(3)
    assert bench.breaker.state is State.CLOSED
    await bench.fail(1, NotFoundError("gone"))
    await bench.call()
    await bench.fail(2, NotFoundError("gone"))
    assert bench.breaker.state is State.OPEN


async def test_a_probe_whose_judge_fails_gives_its_permit_back():
    bench = Bench()
    await bench.half_open()

    def judge(call, error):
        raise LookupError("a bug in the predicate")

    bench.breaker._is_failure = judge
    for _ in range(2):
        with pytest.raises(LookupError):
            await bench.call()


class TestStreams:
    async def stream(self, bench, *, declared, begins=True, fails=True):
        async def leaf(call):
            if begins:
                call.first_message()
            await bench.dependency(call)

        if fails:
            bench.dependency.error = UnavailableError("cut off")
        handler = Pipeline(bench.recorder, bench.breaker).bind(leaf)
        call = Call("op", streaming=declared)
        return await asyncio.gather(handler(call), return_exceptions=True)

    @pytest.mark.parametrize("declared", [True, False])
    async def test_what_happens_after_the_first_message_does_not_count(self, declared):
        bench = Bench(consecutive_failures=1)
        await self.stream(bench, declared=declared)
        assert bench.breaker.state is State.CLOSED

    @pytest.mark.parametrize("declared", [True, False])
    async def test_failing_before_the_first_message_counts(self, declared):
        bench = Bench(consecutive_failures=1)
        await self.stream(bench, declared=declared, begins=False)
        assert bench.breaker.state is State.OPEN

    @pytest.mark.parametrize("declared", [True, False])
    async def test_an_http_stream_that_begins_with_a_failure_counts(self, declared):
        bench = Bench(consecutive_failures=1)

        async def leaf(call):
            call.status, call.code = 503, Code.UNAVAILABLE
            call.first_message()

        await Pipeline(bench.breaker).bind(leaf)(Call("op", streaming=declared))
        assert bench.breaker.state is State.OPEN

    async def test_an_rpc_that_fails_after_its_first_message_does_not_count(self):
        bench = Bench(consecutive_failures=1)

        async def leaf(call):
            call.first_message()
            call.code = Code.UNAVAILABLE

        await Pipeline(bench.breaker).bind(leaf)(Call("op"))
        assert bench.breaker.state is State.CLOSED

    async def test_an_empty_stream_is_judged_by_its_end(self):
        bench = Bench()
        await bench.fail(1)
        await self.stream(bench, declared=True, begins=False, fails=False)
        await bench.fail(1)
        assert bench.breaker.state is State.CLOSED

    async def test_a_declared_stream_counts_once_and_at_its_first_message(self):
        bench = Bench()
        await bench.fail(1)
        bench.dependency.gate = gate = asyncio.Event()
        task = asyncio.create_task(self.stream(bench, declared=True, fails=False))
        await bench.clock.settle()  # its first message left: that was the success
        bench.dependency.gate = None
        await bench.fail(1)
        gate.set()
        await task  # and its end is not another one
        await bench.fail(1)
        assert bench.breaker.state is State.OPEN

    async def test_a_probe_that_streams_closes_the_circuit_with_its_first_message(self):
        bench = Bench()
        await bench.half_open()
        bench.dependency.gate = gate = asyncio.Event()
        task = asyncio.create_task(self.stream(bench, declared=False))
        await bench.clock.settle()
        assert bench.breaker.state is State.CLOSED
        gate.set()
        await task
        assert bench.breaker.state is State.CLOSED

    async def test_a_message_after_the_probe_ended_is_nobodys_success(self):
        bench = Bench(half_open_probes=2)
        await bench.half_open()
        call = Call("op")
        await bench.handler(call)
        call.first_message()
        assert bench.breaker.state is State.HALF_OPEN


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"failure_ratio": 0}, "failure_ratio must be above 0 and at most 1, not 0"),
        ({"failure_ratio": 1.5}, "failure_ratio must be above 0 and at most 1"),
        ({"consecutive_failures": 0}, "consecutive_failures must be a whole number of at least 1"),
        ({"minimum_throughput": 2.5}, "minimum_throughput must be a whole number of at least 1"),
        ({"half_open_probes": 0}, "half_open_probes must be a whole number of at least 1"),
        ({"sampling_duration": 0}, "sampling_duration must be a positive number of seconds"),
        ({"break_duration": -1}, "break_duration must be a positive number of seconds"),
        ({"probe_timeout": float("nan")}, "probe_timeout must be a positive number of seconds"),
    ],
)
def test_an_option_out_of_range_is_named(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        CircuitBreaker("payments", **options)


def test_the_default_judgement():
    call = Call("op")
    assert not default_is_failure(call, None)
    assert not default_is_failure(call, NotFoundError("x"))
    assert default_is_failure(call, LookupError("unknown"))
    assert default_is_failure(call, TimeoutError())
    call.code = Code.INTERNAL
    assert default_is_failure(call, None)


def test_repr():
    assert repr(CircuitBreaker("payments")) == "CircuitBreaker('payments', closed)"
