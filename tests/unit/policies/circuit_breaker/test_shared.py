import asyncio

import pytest

from prodkit import Call, Code, Pipeline
from prodkit.errors import (
    BulkheadFullError,
    CircuitOpenError,
    ConfigurationError,
    NotFoundError,
    UnavailableError,
)
from prodkit.policies.circuit_breaker import (
    BreakerStoreFailed,
    CallRejected,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitIsolated,
    CircuitOpened,
    CircuitReset,
    SharedCircuitBreaker,
    State,
)
from prodkit.stores.memory import MemoryBreakerStore
from prodkit.testing import EventRecorder, ManualClock
from prodkit.traits import Trait

pytestmark = pytest.mark.anyio


class Dependency:
    """What the fleet calls: answers as told and can be held."""

    def __init__(self):
        self.reached = 0
        self.error = None
        self.code, self.status = Code.OK, 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.speaks = False

    async def __call__(self, call):
        self.reached += 1
        call.code, call.status = self.code, self.status
        if self.speaks:
            call.first_message()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return "answer"


class Line:
    """A store as one process reaches it: counts questions, can fail, hang and hold answers back."""

    def __init__(self, store):
        self._store = store
        self.asked = []
        self.error = None
        self.hangs = False
        self.held = None
        self.slow = None  # an event that questions await before they reach the store

    def __getattr__(self, action):
        async def ask(*args, **options):
            self.asked.append(action)
            if self.error is not None:
                raise self.error
            if self.hangs:
                await asyncio.Event().wait()
            if self.slow is not None:
                await self.slow.wait()
            answer = await getattr(self._store, action)(*args, **options)
            if self.held is not None:
                await self.held.wait()
            return answer

        return ask


class Process:
    """One member of a fleet."""

    def __init__(self, bench, **options):
        self.line = Line(bench.store)
        self.recorder = EventRecorder()
        options = {"consecutive_failures": 2, **options}
        self.breaker = SharedCircuitBreaker("payments", self.line, clock=bench.clock, **options)
        self.handler = Pipeline(self.recorder, self.breaker).bind(bench.dependency)

    async def call(self, **options):
        return await self.handler(Call("op", **options))

    @property
    def state(self):
        return self.breaker.state


class Bench:
    """A fleet over one store."""

    def __init__(self, size=2, **options):
        self.clock = ManualClock()
        self.store = MemoryBreakerStore()
        self.dependency = Dependency()
        self.fleet = [Process(self, **options) for _ in range(size)]

    async def fail(self, process, times=2, error=None, **options):
        self.dependency.error = error or UnavailableError("away")
        for _ in range(times):
            with pytest.raises(type(self.dependency.error)):
                await process.call(**options)
        self.dependency.error = None

    async def open(self):
        """Open the circuit of the fleet, and let all know."""
        await self.fail(self.fleet[0])
        await self.clock.advance(1.0)
        for process in self.fleet:
            with pytest.raises(CircuitOpenError):
                await process.call()
        self.clear()

    async def half_open(self):
        await self.open()
        await self.clock.advance(4.0)

    def clear(self):
        self.dependency.reached = 0
        for process in self.fleet:
            process.line.asked.clear()
            process.recorder.clear()


async def outcomes(calls):
    return await asyncio.gather(*calls, return_exceptions=True)


class TestClosed:
    async def test_the_first_call_looks_and_then_one_every_refresh(self):
        bench = Bench(refresh=1.0)
        [one, _] = bench.fleet
        for _ in range(100):
            assert await one.call() == "answer"
        assert one.line.asked == ["admit"]
        await bench.clock.advance(1.0)
        for _ in range(100):
            await one.call()
        assert one.line.asked == ["admit", "admit"]
        assert one.recorder.events == []

    @pytest.mark.parametrize("probes", [1, 3])
    async def test_who_looks_waits_and_the_others_go_on(self, probes):
        bench = Bench(half_open_probes=probes)
        [one, _] = bench.fleet
        one.line.held = asyncio.Event()
        looking = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        assert await one.call() == "answer"
        assert not looking.done()
        one.line.held.set()
        assert await looking == "answer"
        assert one.line.asked == ["admit"]

    async def test_a_trip_opens_the_fleet_within_refresh(self):
        bench = Bench(refresh=1.0)
        [one, two] = bench.fleet
        await two.call()
        await bench.fail(one)
        assert one.state is State.OPEN
        opened = CircuitOpened(
            "circuit_breaker", "payments", measured=2, threshold=2, retry_after=5.0
        )
        assert one.recorder.events == [opened]
        assert await two.call() == "answer"
        await bench.clock.advance(1.0)
        with pytest.raises(CircuitOpenError) as caught:
            await two.call()
        assert two.recorder.of(CircuitOpened) == [opened]
        assert caught.value.retry_after == pytest.approx(4.0)
        assert (caught.value.measured, caught.value.threshold) == (2, 2)
        assert "open" in str(caught.value)

    async def test_a_refusal_explains_itself(self):
        bench = Bench()
        [one, _] = bench.fleet
        await bench.fail(one)
        await bench.clock.advance(2.0)
        one.recorder.clear()
        call = Call("op")
        with pytest.raises(CircuitOpenError) as caught:
            await one.handler(call)
        error = caught.value
        assert str(error) == "the circuit 'payments' is open: too many calls failed or were slow"
        assert error.refuses(call)
        assert (error.policy, error.retry_after) == ("circuit_breaker", 3.0)
        assert one.recorder.events == [
            CallRejected("circuit_breaker", "payments", State.OPEN, 2, 2, 3.0)
        ]

    async def test_half_open_it_tells_of_the_probes(self):
        bench = Bench(half_open_probes=2)
        await bench.half_open()
        [one, _] = bench.fleet
        bench.dependency.gate.clear()
        probes = [asyncio.ensure_future(one.call()) for _ in range(2)]
        await bench.clock.settle()
        with pytest.raises(CircuitOpenError) as caught:
            await one.call()
        error = caught.value
        assert "half-open and all the probes of the fleet are out" in str(error)
        assert (error.measured, error.threshold, error.retry_after) == (2, 2, 5.0)
        assert one.line.asked == ["admit", "admit"]
        assert one.recorder.events == [
            CircuitHalfOpened("circuit_breaker", "payments", 2),
            CallRejected("circuit_breaker", "payments", State.HALF_OPEN, 2, 2, 5.0),
        ]
        bench.dependency.gate.set()
        assert await asyncio.gather(*probes) == ["answer"] * 2

    async def test_a_stream_that_nobody_declared_is_a_success_once_it_spoke(self):
        bench = Bench(consecutive_failures=None, failure_ratio=0.6, minimum_throughput=2)
        [one, _] = bench.fleet
        await bench.fail(one, 1)
        bench.dependency.speaks = True
        await bench.fail(one, 2)
        bench.dependency.speaks = False
        await bench.fail(one, 1)
        assert one.state is State.CLOSED
        await bench.fail(one, 1)
        assert one.state is State.OPEN

    @pytest.mark.parametrize(
        "options",
        [{}, {"consecutive_failures": None, "failure_ratio": 0.6, "minimum_throughput": 4}],
        ids=["in a row", "ratio"],
    )
    async def test_good_calls_count_too(self, options):
        bench = Bench(**options)
        [one, _] = bench.fleet
        for _ in range(2):
            await one.call()
        await bench.fail(one, 1)
        await one.call()
        await bench.fail(one, 1)
        assert one.state is State.CLOSED

    async def test_the_first_break_has_its_length_however_breaks_grow(self):
        bench = Bench(break_growth=10.0)
        [one, _] = bench.fleet
        await bench.fail(one)
        await bench.clock.advance(5.0)
        assert await one.call() == "answer"

    async def test_failures_are_slow_too_where_there_are_too_few_of_them(self):
        bench = Bench(
            consecutive_failures=None,
            failure_ratio=1.0,
            slow_call_duration=1.0,
            minimum_throughput=4,
        )
        [one, _] = bench.fleet
        for _ in range(2):
            await one.call()
        bench.dependency.gate.clear()
        bench.dependency.error = UnavailableError("away")
        slow = [asyncio.ensure_future(one.call()) for _ in range(2)]
        await bench.clock.advance(1.0)
        bench.dependency.gate.set()
        await outcomes(slow)
        assert one.state is State.OPEN

    @pytest.mark.parametrize("seconds", [0.9, 1.0])
    async def test_a_stream_is_timed_up_to_its_first_message(self, seconds):
        bench = Bench(slow_call_duration=1.0, minimum_throughput=1)
        [one, _] = bench.fleet

        async def leaf(call):
            await bench.clock.sleep(seconds)
            call.first_message()
            await bench.clock.sleep(60.0)

        call = asyncio.ensure_future(one.breaker(Call("op", streaming=True), leaf))
        await bench.clock.advance(61.0)
        await call
        assert one.state is (State.CLOSED if seconds < 1 else State.OPEN)

    async def test_a_message_after_a_declared_stream_ended_is_nobodys_success(self):
        bench = Bench()
        [one, _] = bench.fleet
        call = Call("op", streaming=True)
        bench.dependency.error = UnavailableError("away")
        with pytest.raises(UnavailableError):
            await one.handler(call)
        call.first_message()
        await bench.fail(one, 1)
        assert one.state is State.OPEN

    async def test_a_process_that_starts_learns_at_once(self):
        bench = Bench()
        await bench.fail(bench.fleet[0])
        with pytest.raises(CircuitOpenError):
            await bench.fleet[1].call()

    async def test_each_process_judges_by_its_own_window(self):
        bench = Bench()
        for process in bench.fleet:
            await bench.fail(process, 1)
        assert [process.state for process in bench.fleet] == [State.CLOSED] * 2

    async def test_what_speaks_not_against_the_callee_does_not_count(self):
        bench = Bench()
        [one, _] = bench.fleet
        await bench.fail(one, 5, NotFoundError("none"))
        call = Call("op")
        full = BulkheadFullError("full", call=call, policy="bulkhead", measured=1, threshold=1)

        async def inner(call):
            raise full

        for _ in range(5):
            with pytest.raises(BulkheadFullError):
                await one.breaker(call, inner)
        bench.dependency.code = Code.CANCELLED
        for _ in range(5):
            await one.call()
        assert one.state is State.CLOSED

    async def test_a_result_without_an_exception_counts_by_its_code(self):
        bench = Bench()
        bench.dependency.code = Code.UNAVAILABLE
        [one, _] = bench.fleet
        for _ in range(2):
            await one.call()
        assert one.state is State.OPEN

    async def test_a_trip_of_an_older_generation_does_not_count(self):
        bench = Bench(refresh=60.0)
        [one, two] = bench.fleet
        await bench.fail(two, 1)
        await bench.fail(one)
        await bench.clock.advance(5.0)
        await one.call()
        assert one.state is State.CLOSED
        await bench.fail(two, 1)  # its second in a row, but the fleet closed anew in between
        assert two.state is State.CLOSED
        assert two.line.asked == ["admit", "trip"]
        assert [type(event) for event in two.recorder.events] == [CircuitOpened, CircuitClosed]
        assert await two.call() == "answer"
        await bench.fail(two)
        assert two.state is State.OPEN

    async def test_what_was_counted_before_the_fleet_closed_anew_is_forgotten(self):
        bench = Bench(refresh=6.0)
        [one, two] = bench.fleet
        await bench.fail(two, 1)
        await bench.fail(one)
        await bench.clock.advance(5.0)
        await one.call()
        await bench.clock.advance(1.0)
        await bench.fail(two, 1)  # it looked first
        assert two.state is State.CLOSED
        assert two.line.asked == ["admit", "admit"]

    async def test_an_answer_that_was_overtaken_by_a_trip_is_no_news(self):
        bench = Bench()
        [one, _] = bench.fleet
        await bench.fail(one, 1)
        await bench.clock.advance(1.0)
        one.line.held = held = asyncio.Event()
        looking = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        one.line.held = None
        failing = asyncio.ensure_future(bench.fail(one, 1))
        await failing
        assert one.state is State.OPEN
        held.set()
        with pytest.raises(CircuitOpenError):  # what it heard, closed, is old
            await looking
        assert one.state is State.OPEN
        with pytest.raises(CircuitOpenError):
            await one.call()
        assert one.line.asked == ["admit", "admit", "trip"]

    async def test_slow_calls_trip_it_too(self):
        bench = Bench(
            consecutive_failures=None,
            minimum_throughput=2,
            slow_call_duration=1.0,
            sampling_duration=60,
        )
        [one, two] = bench.fleet
        for _ in range(2):
            bench.dependency.gate.clear()
            calling = asyncio.ensure_future(one.call())
            await bench.clock.advance(1.0)
            bench.dependency.gate.set()
            await calling
        assert one.state is State.OPEN
        await bench.clock.advance(1.0)
        with pytest.raises(CircuitOpenError):
            await two.call()


class TestHalfOpen:
    @pytest.mark.parametrize("probes", [1, 5])
    async def test_a_thousand_callers_of_ten_processes_send_n_probes(self, probes):
        bench = Bench(10, half_open_probes=probes)
        await bench.half_open()
        bench.dependency.gate.clear()
        calls = [asyncio.ensure_future(p.call()) for _ in range(100) for p in bench.fleet]
        await bench.clock.settle()
        assert bench.dependency.reached == probes
        questions = [len(process.line.asked) for process in bench.fleet]
        assert max(questions) <= probes
        await bench.clock.advance(1.0)
        with pytest.raises(CircuitOpenError, match="all the probes of the fleet are out"):
            await bench.fleet[9].call()
        bench.dependency.gate.set()
        results = await outcomes(calls)
        assert results.count("answer") == probes
        assert sum(isinstance(r, CircuitOpenError) for r in results) == 1000 - probes
        await bench.clock.advance(1.0)
        for process in bench.fleet:
            assert await process.call() == "answer"
            assert process.state is State.CLOSED
            assert process.recorder.of(CircuitClosed) == [
                CircuitClosed("circuit_breaker", "payments")
            ]

    async def test_one_probe_that_fails_opens_for_all(self):
        bench = Bench(2, half_open_probes=2, refresh=1.0)
        [one, two] = bench.fleet
        await bench.half_open()
        bench.dependency.gate.clear()
        bench.dependency.error = UnavailableError("away")
        calls = [asyncio.ensure_future(process.call()) for process in bench.fleet]
        await bench.clock.settle()
        assert bench.dependency.reached == 2
        bench.dependency.gate.set()
        assert [type(e) for e in await outcomes(calls)] == [UnavailableError] * 2
        bench.dependency.error = None
        assert [one.state, two.state] == [State.OPEN] * 2
        await bench.clock.advance(4.9)
        for process in bench.fleet:
            with pytest.raises(CircuitOpenError):
                await process.call()
        await bench.clock.advance(0.1)
        assert await two.call() == "answer"
        assert await one.call() == "answer"
        assert [one.state, two.state] == [State.CLOSED, State.HALF_OPEN]

    async def test_breaks_grow_for_the_fleet(self):
        bench = Bench(break_growth=2.0)
        [one, two] = bench.fleet
        await bench.half_open()
        await bench.fail(one, 1)
        assert one.recorder.of(CircuitOpened)[-1].retry_after == 10.0
        await bench.clock.advance(10.0)
        await bench.fail(two, 1)
        assert two.recorder.of(CircuitOpened)[-1].retry_after == 20.0

    async def test_a_cancelled_probe_gives_its_permit_back(self):
        bench = Bench()
        [one, two] = bench.fleet
        await bench.half_open()
        bench.dependency.gate.clear()
        probe = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert one.line.asked == ["admit", "settle"]
        bench.dependency.gate.set()
        assert await two.call() == "answer"
        assert two.state is State.CLOSED

    async def test_a_probe_that_a_policy_further_in_refuses_gives_its_permit_back(self):
        bench = Bench()
        [one, _] = bench.fleet
        await bench.half_open()

        async def inner(call):
            raise BulkheadFullError("full", call=call, policy="b", measured=1, threshold=1)

        with pytest.raises(BulkheadFullError):
            await one.breaker(Call("op"), inner)
        assert one.state is State.HALF_OPEN
        assert await one.call() == "answer"

    async def test_a_permit_that_was_granted_to_a_cancelled_asker_comes_back(self):
        bench = Bench()
        [one, two] = bench.fleet
        await bench.half_open()
        one.line.held = asyncio.Event()
        asking = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        asking.cancel()
        one.line.held.set()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert bench.dependency.reached == 0
        assert await two.call() == "answer"

    @pytest.mark.parametrize("cancelled", [False, True])
    async def test_a_probe_whose_caller_is_cancelled_while_it_tells_has_told(self, cancelled):
        bench = Bench()
        [one, two] = bench.fleet
        await bench.half_open()
        bench.dependency.gate.clear()
        probe = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        one.line.slow = asyncio.Event()
        if cancelled:
            probe.cancel()  # once in the handler, once while its permit is given back
        bench.dependency.gate.set()
        await bench.clock.settle()
        probe.cancel()
        await bench.clock.settle()
        one.line.slow.set()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert one.line.asked == ["admit", "settle"]
        assert one.state is (State.HALF_OPEN if cancelled else State.CLOSED)
        assert await two.call() == "answer"

    async def test_a_permit_of_a_process_that_hangs_or_died_comes_back(self):
        bench = Bench(probe_timeout=10.0)
        [one, two] = bench.fleet
        await bench.half_open()
        bench.dependency.gate.clear()
        lost = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        with pytest.raises(CircuitOpenError):
            await two.call()
        await bench.clock.advance(10.0)
        probe = asyncio.ensure_future(one.call())  # its own hung probe does not hold it up either
        await bench.clock.settle()
        assert bench.dependency.reached == 2
        bench.dependency.gate.set()
        assert await outcomes([lost, probe]) == ["answer"] * 2
        assert one.state is State.CLOSED

    async def test_late_results_of_an_older_state_never_count(self):
        bench = Bench(half_open_probes=2)
        [one, two] = bench.fleet
        await bench.half_open()
        bench.dependency.gate.clear()
        late = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        gate, bench.dependency.gate = bench.dependency.gate, asyncio.Event()
        bench.dependency.gate.set()
        await bench.fail(two, 1)
        await bench.clock.advance(5.0)
        bench.dependency.gate.clear()
        bench.dependency.error = None
        new = asyncio.ensure_future(two.call())
        await bench.clock.settle()
        gate.set()
        assert await late == "answer"
        assert (
            await bench.store.admit("payments", "x", now=0, terms=one.breaker._view.terms())
        ).state is State.HALF_OPEN
        bench.dependency.gate.set()
        await new

    async def test_a_slow_probe_failed(self):
        bench = Bench(slow_call_duration=1.0)
        [one, _] = bench.fleet
        await bench.half_open()
        bench.dependency.gate.clear()
        probe = asyncio.ensure_future(one.call())
        await bench.clock.advance(1.0)
        bench.dependency.gate.set()
        assert await probe == "answer"
        assert one.state is State.OPEN


class TestStreams:
    async def test_a_probes_first_message_is_told_while_it_goes_on(self):
        bench = Bench()
        [one, _] = bench.fleet
        await bench.half_open()
        bench.dependency.speaks = True
        bench.dependency.gate.clear()
        stream = asyncio.ensure_future(one.call(streaming=True))
        await bench.clock.settle()
        assert one.state is State.CLOSED
        bench.dependency.error = UnavailableError("cut off")
        bench.dependency.gate.set()
        with pytest.raises(UnavailableError):
            await stream
        assert one.line.asked == ["admit", "settle"]
        assert one.state is State.CLOSED

    async def test_a_cancelled_stream_that_spoke_has_told_already(self):
        bench = Bench()
        [one, _] = bench.fleet
        await bench.half_open()
        bench.dependency.speaks = True
        bench.dependency.gate.clear()
        stream = asyncio.ensure_future(one.call(streaming=True))
        await bench.clock.settle()
        stream.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stream
        assert one.line.asked == ["admit", "settle"]

    async def test_one_that_ends_without_a_message_is_judged_by_its_end(self):
        bench = Bench()
        await bench.half_open()
        call = Call("op", streaming=True)
        assert await bench.fleet[0].handler(call) == "answer"
        assert bench.fleet[0].state is State.CLOSED
        call.first_message()
        assert bench.fleet[0].line.asked == ["admit", "settle"]

    async def test_closed_a_stream_counts_by_its_first_message(self):
        bench = Bench()
        [one, _] = bench.fleet
        await one.call()
        bench.dependency.speaks = True
        await bench.fail(one, 3, streaming=True)
        assert one.state is State.CLOSED
        bench.dependency.status, bench.dependency.code = 503, Code.UNAVAILABLE
        for _ in range(2):
            await one.call(streaming=True)
        assert one.state is State.OPEN
        assert one.line.asked == ["admit", "trip"]  # by its end: a callback cannot ask

    async def test_one_that_nobody_declared_is_counted_when_it_ends(self):
        bench = Bench()
        [one, _] = bench.fleet
        await one.call()
        bench.dependency.speaks = True
        await bench.fail(one, 3)
        assert one.state is State.CLOSED
        bench.dependency.status, bench.dependency.code = 503, Code.UNAVAILABLE
        await bench.fail(one, 2)
        assert one.state is State.OPEN


class TestByHand:
    async def test_the_fleet_is_isolated_until_reset(self):
        bench = Bench()
        [one, two] = bench.fleet
        await two.call()
        await one.breaker.isolate()
        await bench.clock.advance(1.0)
        for process in bench.fleet:
            with pytest.raises(CircuitOpenError, match="isolated by hand") as caught:
                await process.call()
            assert caught.value.retry_after is None
            assert process.state is State.ISOLATED
            assert CircuitIsolated("circuit_breaker", "payments") in process.recorder.events
        await bench.clock.advance(3600)
        with pytest.raises(CircuitOpenError):
            await two.call()
        await two.breaker.reset()
        await bench.clock.advance(1.0)
        for process in bench.fleet:
            assert await process.call() == "answer"
            assert process.recorder.of(CircuitReset)

    async def test_the_store_is_told_when_and_each_reset_has_a_word_of_its_own(self):
        asked = []

        class Noting(MemoryBreakerStore):
            async def isolate(self, name, *, now):
                asked.append((name, now))
                return await super().isolate(name, now=now)

            async def reset(self, name, generation, *, now):
                asked.append((name, now, generation))
                return await super().reset(name, generation, now=now)

        clock = ManualClock()
        breaker = SharedCircuitBreaker("payments", Noting(), clock=clock)
        await breaker.isolate()
        await clock.advance(1.0)
        await breaker.reset()
        await breaker.reset()
        now = clock.monotonic()
        isolated, (*first, one), (*second, two) = asked
        assert isolated == ("payments", now - 1.0)
        assert first == second == ["payments", now]
        assert one != two
        assert len(bytes.fromhex(one)) == len(bytes.fromhex(two)) == 16

    @pytest.mark.parametrize("command", ["isolate", "reset"])
    async def test_without_the_store_it_raises_and_changes_nothing(self, command):
        bench = Bench()
        [one, _] = bench.fleet
        one.line.hangs = True
        commanding = asyncio.ensure_future(getattr(one.breaker, command)())
        await bench.clock.advance(0.5)
        with pytest.raises(UnavailableError, match=r"no answer in 0\.5 s"):
            await commanding
        one.line.hangs = False
        assert await one.call() == "answer"


class TestAlone:
    async def test_a_trip_that_the_store_did_not_hear_of_is_told_as_such(self):
        bench = Bench()
        [one, _] = bench.fleet
        await one.call()
        one.line.error = UnavailableError("no store")
        await bench.fail(one)
        assert [event.action for event in one.recorder.of(BreakerStoreFailed)] == ["trip"]

    @pytest.mark.parametrize("fails", [True, False])
    async def test_a_probe_whose_end_it_did_not_hear_of_begins_a_break_if_it_failed(self, fails):
        bench = Bench()
        [one, _] = bench.fleet
        await bench.half_open()
        await bench.clock.advance(1.0)
        bench.dependency.gate.clear()
        bench.dependency.error = UnavailableError("away") if fails else None
        probe = asyncio.ensure_future(outcomes([one.call()]))
        await bench.clock.settle()
        one.line.error = UnavailableError("no store")
        await bench.clock.advance(1.0)
        bench.dependency.gate.set()
        await probe
        bench.dependency.error = None
        assert [event.action for event in one.recorder.of(BreakerStoreFailed)] == ["settle"]
        with pytest.raises(CircuitOpenError) as refused:
            await one.call()
        # If it passed, the guess when it was admitted still stands.
        assert refused.value.retry_after == pytest.approx(5.0 if fails else 4.0)

    async def test_a_probe_of_its_own_that_is_cancelled_makes_room_for_another(self):
        bench = Bench()
        [one, _] = bench.fleet
        await bench.half_open()
        one.line.error = UnavailableError("no store")
        bench.dependency.gate.clear()
        probe = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        assert bench.dependency.reached == 1
        probe.cancel()
        await outcomes([probe])
        bench.dependency.gate.set()
        assert await one.call() == "answer"
        assert one.state is State.CLOSED

    async def test_a_cancelled_probe_may_not_be_told(self):
        bench = Bench()
        [one, _] = bench.fleet
        await bench.half_open()
        bench.dependency.gate.clear()
        probe = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        one.line.error = UnavailableError("no store")
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert [event.action for event in one.recorder.of(BreakerStoreFailed)] == ["settle"]

    async def test_a_store_that_fails_harms_no_call_and_is_told_of(self):
        bench = Bench()
        [one, _] = bench.fleet
        one.line.error = UnavailableError("no store")
        for _ in range(100):
            assert await one.call() == "answer"
        assert one.breaker.alone
        assert one.line.asked == ["admit"]
        assert one.recorder.events == [
            BreakerStoreFailed(
                "circuit_breaker", "payments", "admit", "UnavailableError('no store')"
            )
        ]

    async def test_a_store_that_hangs_costs_one_call_in_each_refresh_its_timeout(self):
        bench = Bench(store_timeout=0.25)
        [one, _] = bench.fleet
        one.line.hangs = True
        looking = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        assert await one.call() == "answer"
        await bench.clock.advance(0.25)
        assert await looking == "answer"
        assert one.breaker.alone
        assert "no answer in 0.25 s" in one.recorder.of(BreakerStoreFailed)[0].error

    async def test_a_caller_that_is_cancelled_while_it_asks_is_cancelled(self):
        bench = Bench()
        [one, _] = bench.fleet
        one.line.hangs = True
        looking = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        looking.cancel()
        await bench.clock.advance(0.5)
        with pytest.raises(asyncio.CancelledError):
            await looking
        assert bench.dependency.reached == 0

    async def test_alone_it_opens_and_closes_by_itself(self):
        bench = Bench(refresh=1000.0)
        [one, _] = bench.fleet
        one.line.error = ConnectionError("no store")
        await bench.fail(one)
        assert one.state is State.OPEN
        with pytest.raises(CircuitOpenError):
            await one.call()
        await bench.clock.advance(5.0)
        assert await one.call() == "answer"
        assert one.state is State.CLOSED
        assert [type(event) for event in one.recorder.events] == [
            BreakerStoreFailed,
            CircuitOpened,
            CallRejected,
            CircuitHalfOpened,
            CircuitClosed,
        ]

    @pytest.mark.parametrize("failing", ["error", "hangs"])
    async def test_at_half_open_a_thousand_callers_send_n_probes_of_this_process(self, failing):
        bench = Bench(half_open_probes=3)
        [one, _] = bench.fleet
        await bench.half_open()
        setattr(one.line, failing, True if failing == "hangs" else UnavailableError("no store"))
        bench.dependency.gate.clear()
        calls = [asyncio.ensure_future(one.call()) for _ in range(1000)]
        await bench.clock.advance(0.5)
        calls += [asyncio.ensure_future(one.call()) for _ in range(1000)]
        await bench.clock.advance(0.5)
        assert bench.dependency.reached == 3
        bench.dependency.gate.set()
        assert (await outcomes(calls)).count("answer") == 3
        assert one.state is State.CLOSED

    async def test_while_others_probe_it_waits_for_a_break_before_it_does_so_itself(self):
        bench = Bench(probe_timeout=30.0)
        [one, two] = bench.fleet
        await bench.half_open()
        bench.dependency.gate.clear()
        probe = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        with pytest.raises(CircuitOpenError):
            await two.call()
        two.line.error = UnavailableError("no store")
        await bench.clock.advance(4.9)
        with pytest.raises(CircuitOpenError):
            await two.call()
        await bench.clock.advance(0.1)
        bench.dependency.gate.set()
        assert await two.call() == "answer"
        await probe

    async def test_probes_that_the_store_admitted_count_among_its_own(self):
        bench = Bench(half_open_probes=2)
        [one, _] = bench.fleet
        await bench.half_open()
        bench.dependency.gate.clear()
        first = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        one.line.error = UnavailableError("no store")
        calls = [asyncio.ensure_future(one.call()) for _ in range(10)]
        await bench.clock.advance(5.0)
        calls += [asyncio.ensure_future(one.call()) for _ in range(10)]
        await bench.clock.settle()
        assert bench.dependency.reached == 2
        bench.dependency.gate.set()
        await outcomes([first, *calls])

    async def test_a_probe_that_fails_and_cannot_be_told_begins_a_break_of_our_own(self):
        bench = Bench()
        [one, _] = bench.fleet
        await bench.half_open()
        bench.dependency.gate.clear()
        bench.dependency.error = UnavailableError("away")
        probe = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        one.line.error = UnavailableError("no store")
        bench.dependency.gate.set()
        with pytest.raises(UnavailableError, match="away"):
            await probe
        bench.dependency.error = None
        await bench.clock.advance(4.9)
        with pytest.raises(CircuitOpenError):
            await one.call()
        await bench.clock.advance(0.1)
        assert await one.call() == "answer"
        assert one.state is State.CLOSED

    async def test_one_that_is_late_as_well_changes_no_closed_circuit(self):
        bench = Bench(half_open_probes=1)
        [one, _] = bench.fleet
        await bench.half_open()
        bench.dependency.gate.clear()
        bench.dependency.error = UnavailableError("away")
        probe = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        await one.breaker.reset()
        one.line.error = UnavailableError("no store")
        bench.dependency.gate.set()
        with pytest.raises(UnavailableError):
            await probe
        assert one.state is State.CLOSED

    async def test_when_the_store_is_back_it_is_told_of_the_trip(self):
        bench = Bench()
        [one, two] = bench.fleet
        one.line.error = UnavailableError("no store")
        await bench.fail(one)
        assert await two.call() == "answer"
        one.line.error = None
        await bench.clock.advance(1.0)
        for process in (one, two):
            with pytest.raises(CircuitOpenError):
                await process.call()
        assert not one.breaker.alone
        assert one.line.asked == ["admit", "trip"]

    async def test_when_the_store_is_back_the_fleet_is_right(self):
        bench = Bench()
        [one, two] = bench.fleet
        one.line.error = UnavailableError("no store")
        assert await one.call() == "answer"
        await bench.fail(two)
        assert await one.call() == "answer"
        one.line.error = None
        await bench.clock.advance(1.0)
        with pytest.raises(CircuitOpenError):
            await one.call()

    async def test_a_trip_that_cannot_be_told_is_told_later(self):
        bench = Bench()
        [one, two] = bench.fleet
        await one.call()
        one.line.error = UnavailableError("no store")
        await bench.fail(one)
        assert one.line.asked == ["admit", "trip"]
        one.line.error = None
        await bench.clock.advance(1.0)
        with pytest.raises(CircuitOpenError):
            await one.call()
        with pytest.raises(CircuitOpenError):
            await two.call()

    async def test_an_old_question_that_times_out_is_no_news(self):
        bench = Bench(half_open_probes=2)
        [one, _] = bench.fleet
        await bench.half_open()
        one.line.hangs = True
        first = asyncio.ensure_future(one.call())
        await bench.clock.settle()
        one.line.hangs = False
        assert await one.call() == "answer"
        await bench.clock.advance(0.5)
        with pytest.raises(CircuitOpenError):
            await first
        assert not one.breaker.alone
        assert one.state is State.HALF_OPEN

    async def test_isolation_holds_without_the_store(self):
        bench = Bench()
        [one, _] = bench.fleet
        await one.breaker.isolate()
        one.line.error = UnavailableError("no store")
        for _ in range(2):
            await bench.clock.advance(10.0)
            with pytest.raises(CircuitOpenError):
                await one.call()


async def test_shadow_decides_and_lets_all_pass():
    bench = Bench(shadow=True)
    [one, _] = bench.fleet
    await bench.fail(one)
    assert await one.call() == "answer"
    assert one.recorder.of(CallRejected)[0].shadow
    assert one.state is State.OPEN


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refresh": 0}, "refresh must be a positive number of seconds, not 0"),
        ({"store_timeout": -1}, "store_timeout must be a positive number"),
        ({"half_open_probes": 0}, "half_open_probes must be"),
    ],
)
def test_options_out_of_range_are_refused_by_name(options, message):
    with pytest.raises(ConfigurationError, match=message):
        SharedCircuitBreaker("payments", MemoryBreakerStore(), **options)


async def test_options_change_while_it_runs_all_or_none():
    bench = Bench()
    [one, _] = bench.fleet
    await one.call()
    for wrong in ({"refresh": 0}, {"store_timeout": 0}, {"break_duration": 0}):
        with pytest.raises(ConfigurationError, match=f"^{next(iter(wrong))} must be"):
            one.breaker.reconfigure(
                **{"refresh": 9, "store_timeout": 9, "break_duration": 9, **wrong}
            )
        assert one.breaker.options.break_duration == 5.0
    one.breaker.reconfigure(refresh=10.0, store_timeout=1.0, break_duration=2.0)
    await bench.fail(one)
    await bench.clock.advance(2.0)
    assert await one.call() == "answer"
    one.line.asked.clear()
    await bench.clock.advance(9.0)
    await one.call()
    assert one.line.asked == []
    one.breaker.reconfigure(consecutive_failures=3)
    await bench.fail(one, 2)
    assert one.state is State.CLOSED


async def test_it_shows_what_it_is():
    bench = Bench(1)
    [one] = bench.fleet
    assert repr(one.breaker).startswith("SharedCircuitBreaker('payments', closed, opens if 2")
    one.line.error = UnavailableError("no store")
    await one.call()
    assert repr(one.breaker).startswith("SharedCircuitBreaker('payments', closed, alone, opens")
    assert one.breaker.traits is Trait.BREAKS
