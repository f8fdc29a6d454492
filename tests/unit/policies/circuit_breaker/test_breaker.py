import asyncio
from datetime import timedelta

import pytest

from prodkit import Call, Code, Pipeline, RejectedError
from prodkit.errors import (
    BulkheadFullError,
    CircuitOpenError,
    ConfigurationError,
    NotFoundError,
    ServiceError,
    UnavailableError,
)
from prodkit.policies.circuit_breaker import (
    CallRejected,
    CircuitBreaker,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitIsolated,
    CircuitOpened,
    CircuitReset,
    Options,
    State,
)
from prodkit.testing import EventRecorder, ManualClock
from prodkit.traits import Trait, traits_of

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
    told = "^the circuit 'payments' is open: too many calls failed$"
    with pytest.raises(CircuitOpenError, match=told) as caught:
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


async def test_14_all_probes_hung_hold_nothing_longer_than_the_probe_timeout():
    bench = Bench(half_open_probes=3, probe_timeout=30.0)
    await bench.half_open()
    bench.dependency.gate = gate = asyncio.Event()
    hung = [asyncio.create_task(bench.call()) for _ in range(3)]
    await bench.clock.advance(29.9)
    with pytest.raises(CircuitOpenError, match="half-open"):
        await bench.call()
    await bench.clock.advance(0.1)
    with pytest.raises(CircuitOpenError, match="is open"):
        await bench.call()
    await bench.clock.advance(5.0)
    bench.dependency.gate, bench.dependency.reached = None, 0
    await bench.call()
    gate.set()  # what the hung ones say now is too late
    assert await asyncio.gather(*hung) == ["answer"] * 3
    assert bench.breaker.state is State.HALF_OPEN
    await bench.call()
    await bench.call()
    assert bench.breaker.state is State.CLOSED
    changes = [type(e) for e in bench.recorder.events if not isinstance(e, CallRejected)]
    assert changes == [CircuitHalfOpened, CircuitOpened, CircuitHalfOpened, CircuitClosed]


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


async def test_14_nor_does_one_of_a_call_from_before_an_earlier_closing():
    bench = Bench()
    await bench.half_open()
    await bench.call()  # closed, for the second time
    bench.dependency.gate = gate = asyncio.Event()
    late = asyncio.create_task(bench.call())
    await bench.clock.settle()
    bench.dependency.gate = None
    await bench.half_open()
    await bench.call()  # and for the third
    bench.dependency.error = UnavailableError("away")
    gate.set()
    await asyncio.gather(late, return_exceptions=True)
    await bench.fail(1)
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
    for _ in range(2):
        with pytest.raises(CircuitOpenError, match="isolated by hand") as caught:
            await bench.call()
    assert caught.value.retry_after is None
    bench.breaker.reset()
    assert await bench.call() == await bench.call() == "answer"
    rejected = CallRejected("circuit_breaker", "payments", State.ISOLATED, 0.0, 0.0, None)
    assert bench.recorder.events == [
        CircuitIsolated("circuit_breaker", "payments"),
        rejected,
        rejected,
        CircuitReset("circuit_breaker", "payments"),
    ]


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

    async def test_such_an_rpc_is_a_success(self):
        options = {"failure_ratio": 0.6, "minimum_throughput": 2}
        bench = Bench(consecutive_failures=None, **options)

        async def leaf(call):
            call.first_message()
            call.code = Code.UNAVAILABLE

        await bench.fail(1)
        for _ in range(2):
            await Pipeline(bench.breaker).bind(leaf)(Call("op"))
        await bench.fail(1)
        assert bench.breaker.state is State.CLOSED
        await bench.fail(1)
        assert bench.breaker.state is State.OPEN

    async def test_a_message_after_a_declared_stream_ended_is_nobodys_success(self):
        bench, call = Bench(), Call("op", streaming=True)
        bench.dependency.error = UnavailableError("away")
        with pytest.raises(UnavailableError):
            await bench.handler(call)
        call.first_message()
        await bench.fail(1)
        assert bench.breaker.state is State.OPEN

    async def test_a_message_after_the_probe_ended_is_nobodys_success(self):
        bench = Bench(half_open_probes=2)
        await bench.half_open()
        call = Call("op")
        await bench.handler(call)
        call.first_message()
        assert bench.breaker.state is State.HALF_OPEN


class TestSlowCalls:
    def bench(self, **options):
        limits = {"slow_call_duration": 2.0, "minimum_throughput": 4}
        return Bench(**{"consecutive_failures": None, **limits, **options})

    async def slow(self, bench, seconds=2.0, **options):
        bench.dependency.gate = asyncio.Event()
        task = asyncio.create_task(bench.call(**options))
        await bench.clock.advance(seconds)
        bench.dependency.gate.set()
        bench.dependency.gate = None
        return await asyncio.gather(task, return_exceptions=True)

    async def test_calls_that_take_long_open_it_though_they_succeed(self):
        bench = self.bench()
        for seconds in (1.9, 1.9, 2.0, 2.0):
            await self.slow(bench, seconds)
        assert bench.recorder.events == [
            CircuitOpened("circuit_breaker", "payments", 0.5, 0.5, 5.0, slow=True)
        ]
        with pytest.raises(CircuitOpenError, match="too many calls were slow"):
            await bench.call()

    async def test_a_slow_probe_has_failed(self):
        bench = self.bench()
        for _ in range(4):
            await self.slow(bench)
        await bench.clock.advance(5.0)
        await self.slow(bench)
        assert bench.breaker.state is State.OPEN

    async def test_a_stream_is_timed_up_to_its_first_message(self):
        bench = self.bench(minimum_throughput=1)

        async def leaf(call):
            await bench.clock.sleep(1.0)
            call.first_message()
            await bench.clock.sleep(60.0)

        handler = Pipeline(bench.breaker).bind(leaf)
        task = asyncio.create_task(handler(Call("op")))
        await bench.clock.advance(61.0)
        await task
        assert bench.breaker.state is State.CLOSED

    async def test_a_first_message_may_be_too_late(self):
        bench = self.bench(minimum_throughput=1)

        async def leaf(call):
            await bench.clock.sleep(2.0)
            call.first_message()

        task = asyncio.create_task(Pipeline(bench.breaker).bind(leaf)(Call("op")))
        await bench.clock.advance(2.0)
        await task
        assert bench.breaker.state is State.OPEN

    async def test_failures_are_slow_too_where_there_are_too_few_of_them(self):
        bench = self.bench(failure_ratio=1.0)
        for _ in range(2):
            await bench.call()
        bench.dependency.error = UnavailableError("away")
        for _ in range(2):
            await self.slow(bench)
        assert [event.slow for event in bench.recorder.of(CircuitOpened)] == [True]

    async def test_cancelled_calls_are_not_slow(self):
        bench = self.bench(minimum_throughput=1)
        bench.dependency.gate = asyncio.Event()
        task = asyncio.create_task(bench.call())
        await bench.clock.advance(60.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert bench.breaker.state is State.CLOSED

    async def test_slow_failures_in_a_row_are_failures(self):
        bench = self.bench(consecutive_failures=2)
        bench.dependency.error = UnavailableError("away")
        await self.slow(bench)
        await self.slow(bench)
        assert bench.recorder.of(CircuitOpened)[0].slow is False

    @pytest.mark.parametrize("error", [None, NotFoundError("no such thing")])
    async def test_a_call_that_began_before_anything_was_timed_is_not_slow(self, error):
        bench = Bench()
        bench.dependency.gate, bench.dependency.error = asyncio.Event(), error
        task = asyncio.create_task(bench.call())
        await bench.clock.advance(60.0)
        bench.breaker.reconfigure(slow_call_duration=1.0, minimum_throughput=1)
        bench.dependency.gate.set()
        assert await asyncio.gather(task, return_exceptions=True) == [error or "answer"]
        assert bench.breaker.state is State.CLOSED
        await self.slow(bench)
        assert bench.breaker.state is State.OPEN

    async def test_calls_from_before_anything_was_timed_leave_the_counts_alone(self):
        bench = Bench()
        bench.dependency.gate = gate = asyncio.Event()
        task = asyncio.create_task(bench.call())
        await bench.clock.settle()
        bench.breaker.reconfigure(slow_call_duration=2.0, slow_call_ratio=0.5, minimum_throughput=3)
        await self.slow(bench)
        gate.set()
        await task
        await self.slow(bench)
        assert [e.measured for e in bench.recorder.of(CircuitOpened)] == [2 / 3]


async def test_the_first_break_has_its_length_however_breaks_grow():
    bench = Bench(break_growth=10.0)
    await bench.fail(2)
    await bench.clock.advance(5.0)
    assert await bench.call() == "answer"


async def test_breaks_grow_while_probes_fail():
    bench = Bench(break_growth=2.0)
    await bench.half_open()
    await bench.fail(1)
    await bench.clock.advance(9.9)
    with pytest.raises(CircuitOpenError):
        await bench.call()
    await bench.clock.advance(0.1)
    await bench.call()
    assert [e.retry_after for e in bench.recorder.of(CircuitOpened)] == [10.0]
    assert bench.breaker.state is State.CLOSED


class TestShadow:
    async def test_it_tells_and_lets_pass(self):
        bench = Bench(shadow=True)
        await bench.fail(2)
        assert bench.breaker.state is State.OPEN
        assert await bench.call() == "answer"
        assert bench.recorder.events == [
            CircuitOpened("circuit_breaker", "payments", 2, 2, 5.0),
            CallRejected("circuit_breaker", "payments", State.OPEN, 2, 2, 5.0, shadow=True),
        ]

    async def test_half_open_only_what_would_be_a_probe_is_judged(self):
        bench = Bench(shadow=True)
        await bench.half_open()
        bench.dependency.gate = gate = asyncio.Event()
        probe = asyncio.create_task(bench.call())
        await bench.clock.settle()
        bench.dependency.gate = None
        await bench.fail(3)
        assert bench.breaker.state is State.HALF_OPEN
        assert [e.shadow for e in bench.recorder.of(CallRejected)] == [True] * 3
        gate.set()
        await probe
        assert bench.breaker.state is State.CLOSED

    async def test_isolated_calls_pass_too(self):
        bench = Bench(shadow=True)
        bench.breaker.isolate()
        assert await bench.call() == "answer"
        assert bench.recorder.of(CallRejected)[0].state is State.ISOLATED

    async def test_it_is_switched_while_running(self):
        bench = Bench(shadow=True)
        await bench.fail(2)
        bench.breaker.reconfigure(shadow=False)
        with pytest.raises(CircuitOpenError):
            await bench.call()
        bench.breaker.reconfigure(shadow=True)
        await bench.call()


class TestReconfigure:
    async def test_the_state_and_what_was_counted_stay(self):
        bench = Bench(consecutive_failures=5)
        await bench.fail(2)
        bench.breaker.reconfigure(consecutive_failures=3)
        await bench.fail(1)
        assert bench.breaker.state is State.OPEN
        bench.breaker.reconfigure(half_open_probes=2)
        assert bench.breaker.state is State.OPEN

    async def test_all_or_nothing(self):
        bench = Bench()
        with pytest.raises(ConfigurationError, match="break_growth"):
            bench.breaker.reconfigure(break_duration=60.0, break_growth=0.5)
        with pytest.raises(ConfigurationError, match="must stay unset while running"):
            CircuitBreaker("ratio").reconfigure(consecutive_failures=3, half_open_probes=2)
        assert bench.breaker.options == Options(consecutive_failures=2)

    async def test_none_keeps(self):
        bench = Bench(half_open_probes=3)
        bench.breaker.reconfigure(half_open_probes=None)
        assert bench.breaker.options.half_open_probes == 3


def test_an_option_out_of_range_is_named():
    with pytest.raises(ConfigurationError, match="failure_ratio must be above 0"):
        CircuitBreaker("payments", failure_ratio=0)


def test_breakers_may_start_from_options_that_they_share():
    common = Options(consecutive_failures=3)
    assert CircuitBreaker("a", options=common).options is common
    other = CircuitBreaker("b", options=common, break_duration=9)
    assert other.options == Options(consecutive_failures=3, break_duration=9.0)


def test_it_says_what_it_is():
    assert traits_of(CircuitBreaker("payments")) is Trait.BREAKS
    assert repr(CircuitBreaker("payments", consecutive_failures=5)) == (
        "CircuitBreaker('payments', closed, opens if 5 in a row fail, for 5 s, 1 probe)"
    )
