import asyncio
import random
from contextlib import suppress
from datetime import timedelta

import pytest

from prodkit import Call, Code, Pipeline
from prodkit.clock import SystemClock
from prodkit.errors import (
    BulkheadFullError,
    ConfigurationError,
    DeadlineExceededError,
    InternalError,
    NotFoundError,
    RateLimitedError,
    ThrottledError,
    UnavailableError,
)
from prodkit.policies.adaptive_throttle import AdaptiveThrottle, CallThrottled
from prodkit.testing import EventRecorder, ManualClock
from prodkit.traits import Trait

pytestmark = pytest.mark.anyio


class Backend:
    """A leaf that answers as told."""

    def __init__(self):
        self.reached = 0
        self.error = None
        self.code = Code.OK
        self.status = 0
        self.says_first_message = False

    async def __call__(self, call):
        self.reached += 1
        call.code, call.status = self.code, self.status
        if self.says_first_message:
            call.first_message()
        if self.error is not None:
            raise self.error
        return "answer"


class Bench:
    """A throttle with its clock, its chance and its backend."""

    def __init__(self, **options):
        self.clock = ManualClock()
        self.chance = 0.0
        self.backend = Backend()
        self.recorder = EventRecorder()
        options = {"minimum_throughput": 1, **options}
        self.throttle = AdaptiveThrottle(
            "search", clock=self.clock, random=lambda: self.chance, **options
        )
        self.handler = Pipeline(self.recorder, self.throttle).bind(self.backend)

    async def call(self, times=1, **options):
        for _ in range(times):
            answer = await self.handler(Call("op", **options))
        return answer

    async def fail(self, times=1, error=None, **options):
        """Let calls pass the throttle and fail."""
        chance, self.chance = self.chance, 1.0
        self.backend.error = error or UnavailableError("busy")
        for _ in range(times):
            with pytest.raises(type(self.backend.error)):
                await self.call(**options)
        self.backend.error, self.chance = None, chance

    @property
    def counted(self):
        counts = self.throttle._counts
        return counts.requests, counts.accepts


async def test_good_calls_pass():
    bench = Bench()
    assert await bench.call(100) == "answer"
    assert bench.throttle.probability == 0
    assert bench.counted == (100, 100)
    assert bench.recorder.events == []


async def test_the_probability_is_the_books():
    bench = Bench(ratio=2.0)
    await bench.call(10)
    await bench.fail(10)
    assert bench.throttle.probability == 0
    await bench.fail(20)
    assert bench.throttle.probability == pytest.approx((40 - 2 * 10) / 41)
    bench.throttle.reconfigure(ratio=1.5)
    assert bench.throttle.probability == pytest.approx((40 - 1.5 * 10) / 41)


async def test_chance_decides_and_a_refusal_explains_itself():
    bench = Bench(window=100)
    await bench.call(10)
    await bench.fail(30)
    reached = bench.backend.reached
    bench.chance = 20 / 41  # not below the probability
    assert await bench.call() == "answer"
    bench.chance = (41 - 22) / 42 - 0.001
    with pytest.raises(ThrottledError) as caught:
        await bench.call()
    error = caught.value
    assert bench.backend.reached == reached + 1
    assert str(error) == (
        "the throttle 'search' refuses 45% of the calls: of 41 lately, 11 were accepted"
    )
    assert (error.code, error.reason) == (Code.UNAVAILABLE, "THROTTLED")
    assert (error.policy, error.measured, error.threshold) == ("adaptive_throttle", 11 / 41, 0.5)
    assert error.retry_after == 10.0
    assert error.refuses(bench.recorder.records[-1][0])
    assert bench.recorder.events == [
        CallThrottled("adaptive_throttle", "search", 41, 11, pytest.approx(19 / 42))
    ]


async def test_what_is_refused_here_counts_as_a_request():
    bench = Bench()
    await bench.fail(4)
    with pytest.raises(ThrottledError):
        await bench.call()
    assert bench.counted == (5, 0)


async def test_below_the_minimum_throughput_nothing_is_refused():
    bench = Bench(minimum_throughput=20)
    await bench.fail(19)
    assert await bench.call() == "answer"
    with pytest.raises(ThrottledError):
        await bench.call()


async def test_some_calls_always_get_through_to_notice_that_it_is_back():
    bench = Bench(max_rejection_probability=0.9)
    await bench.fail(1000)
    assert bench.throttle.probability == 0.9
    bench.chance = 0.9
    assert await bench.call() == "answer"
    bench.throttle.reconfigure(max_rejection_probability=1.0)
    assert bench.throttle.probability > 0.99


async def test_what_was_a_window_ago_is_forgotten():
    bench = Bench(window=timedelta(seconds=10))
    await bench.fail(100)
    await bench.clock.advance(5.0)
    assert bench.throttle.probability > 0.9
    with pytest.raises(ThrottledError):
        await bench.call()
    await bench.clock.advance(15.0)
    assert await bench.call() == "answer"
    assert bench.counted == (1, 1)


@pytest.mark.parametrize(
    ("error", "accepted"),
    [
        (UnavailableError("away"), 0),
        (DeadlineExceededError("late"), 0),
        (TimeoutError(), 0),
        (ConnectionResetError(), 0),
        (InternalError("a fault"), 1),
        (ValueError("a fault"), 1),
        (NotFoundError("none"), 1),
    ],
)
async def test_overload_is_not_accepted_but_a_failure_of_its_code_is(error, accepted):
    bench = Bench()
    await bench.fail(error=error)
    assert bench.counted == (1, accepted)


@pytest.mark.parametrize(
    ("code", "accepted"), [(Code.RESOURCE_EXHAUSTED, 0), (Code.UNAVAILABLE, 0), (Code.INTERNAL, 1)]
)
async def test_a_code_without_an_exception_counts_the_same(code, accepted):
    bench = Bench()
    bench.backend.code = code
    await bench.call()
    assert bench.counted == (1, accepted)


async def test_the_predicate_decides():
    bench = Bench(is_accepted=lambda call, error: error is None and call.code is Code.OK)
    await bench.fail(error=NotFoundError("none"))
    bench.chance = 1.0
    await bench.call()
    assert bench.counted == (2, 1)


async def test_cancellation_counts_as_neither():
    bench = Bench()
    task = asyncio.ensure_future(bench.throttle(Call("op"), lambda call: asyncio.sleep(3600)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    bench.backend.code = Code.CANCELLED
    await bench.call()
    assert bench.counted == (0, 0)


async def test_a_refusal_further_in_counts_as_neither_but_one_of_another_call_does():
    bench = Bench()

    def refuses(call):
        return BulkheadFullError("full", call=call, policy="bulkhead", measured=1, threshold=1)

    async def inner(call):
        raise refuses(call)

    with pytest.raises(BulkheadFullError):
        await bench.throttle(Call("op"), inner)
    assert bench.counted == (0, 0)
    await bench.fail(error=refuses(Call("what the backend itself called")))
    assert bench.counted == (1, 0)


async def test_a_rate_limit_that_the_backend_answers_with_is_not_accepted():
    bench = Bench()
    error = RateLimitedError("no", call=Call("there"), policy="p", measured=1, threshold=1)
    await bench.fail(error=error)
    assert bench.counted == (1, 0)


class TestStreams:
    async def test_a_stream_is_counted_once_at_its_first_message(self):
        bench = Bench()
        bench.backend.says_first_message = True
        await bench.call(streaming=True)
        await bench.fail(streaming=True)
        assert bench.counted == (2, 2)

    async def test_one_that_never_spoke_is_counted_by_how_it_ends(self):
        bench = Bench()
        await bench.call(streaming=True)
        await bench.fail(streaming=True)
        assert bench.counted == (2, 1)

    async def test_the_predicate_sees_the_call_however_a_stream_ends(self):
        bench = Bench(is_accepted=lambda call, error: call.operation == "op")
        await bench.call(streaming=True)
        await bench.fail(streaming=True)
        assert bench.counted == (2, 2)

    async def test_one_that_nobody_declared_is_counted_when_it_ends(self):
        bench = Bench()
        bench.backend.says_first_message = True
        await bench.fail()
        assert bench.counted == (1, 1)

    async def test_an_http_stream_that_begins_with_503_is_not_accepted(self):
        bench = Bench()
        bench.backend.says_first_message = True
        bench.backend.code, bench.backend.status = Code.UNAVAILABLE, 503
        bench.chance = 1.0
        await bench.call(streaming=True)
        await bench.call()
        assert bench.counted == (2, 0)

    async def test_a_message_after_a_cancelled_stream_counts_nothing(self):
        bench, call = Bench(), Call("op", streaming=True)
        task = asyncio.ensure_future(bench.throttle(call, lambda call: asyncio.sleep(3600)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        call.first_message()
        assert bench.counted == (0, 0)


class Seconds:
    """A backend that takes `capacity` calls each second and turns the others away."""

    def __init__(self, clock, capacity):
        self.clock, self.capacity = clock, capacity
        self.second, self.arrived, self.loads, self.accepts = None, 0, [], []

    async def __call__(self, call):
        second = int(self.clock.monotonic())
        if second != self.second:
            self.loads.append(self.arrived)
            self.accepts.append(min(self.arrived, self.capacity))
            self.second, self.arrived = second, 0
        self.arrived += 1
        if self.arrived > self.capacity:
            raise UnavailableError("too much")


async def simulate(throttle, backend, clock, *, demand, seconds):
    """Call `demand` times a second, evenly; time moves by itself, nothing is waited for."""
    handler = Pipeline(throttle).bind(backend)
    for _ in range(demand * seconds):
        with suppress(UnavailableError, ThrottledError):
            await handler(Call("op"))
        clock.now += 1 / demand


class Ticks(SystemClock):
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.mark.parametrize("ratio", [1.1, 2.0, 3.0])
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_load_of_a_busy_backend_becomes_ratio_times_its_capacity(ratio, seed):
    clock = Ticks()
    throttle = AdaptiveThrottle(
        "search", ratio=ratio, clock=clock, random=random.Random(seed).random
    )
    backend = Seconds(clock, capacity=20)
    await simulate(throttle, backend, clock, demand=200, seconds=180)
    load, accepts = sum(backend.loads[60:]), sum(backend.accepts[60:])
    assert load == pytest.approx(ratio * accepts, rel=0.05)
    assert load / len(backend.loads[60:]) == pytest.approx(ratio * 20, rel=0.1)
    assert sum(backend.loads[1:6]) / 5 > ratio * 20  # it had to learn that first


async def test_after_an_outage_it_finds_back_in_about_two_windows():
    clock = Ticks()
    throttle = AdaptiveThrottle("search", clock=clock, random=random.Random(3).random)
    backend = Seconds(clock, capacity=0)
    await simulate(throttle, backend, clock, demand=200, seconds=120)
    assert throttle.probability == 0.95
    backend.capacity = 1000
    await simulate(throttle, backend, clock, demand=200, seconds=80)
    assert throttle.probability == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 1}, "ratio must be a number above 1, not 1"),
        ({"ratio": float("nan")}, "ratio must be"),
        ({"ratio": float("inf")}, "ratio must be"),
        ({"ratio": "2"}, "ratio must be"),
        ({"window": 0}, "window must be a positive number of seconds, not 0"),
        ({"minimum_throughput": 0}, "minimum_throughput must be a whole number of at least 1"),
        ({"minimum_throughput": True}, "minimum_throughput must be"),
        ({"minimum_throughput": 1.5}, "minimum_throughput must be"),
        ({"max_rejection_probability": 0}, "max_rejection_probability must be above 0"),
        ({"max_rejection_probability": 1.1}, "and at most 1, not 1.1"),
        ({"max_rejection_probability": True}, "max_rejection_probability must be"),
        ({"max_rejection_probability": None}, "max_rejection_probability must be"),
    ],
)
def test_options_out_of_range_are_refused_by_name(options, message):
    with pytest.raises(ConfigurationError, match=message):
        AdaptiveThrottle("search", **options)


async def test_reconfigure_is_all_or_nothing_and_keeps_what_was_counted():
    bench = Bench()
    await bench.call(10)
    await bench.fail(30)
    before = bench.throttle.probability
    for wrong in ({"ratio": 0.5}, {"minimum_throughput": 0}, {"max_rejection_probability": 2}):
        valid = {"ratio": 3.0, "minimum_throughput": 5, "max_rejection_probability": 0.5}
        with pytest.raises(ConfigurationError, match=f"^{next(iter(wrong))} must be"):
            bench.throttle.reconfigure(**{**valid, **wrong})
        assert bench.throttle.probability == before
    bench.throttle.reconfigure()
    assert bench.throttle.probability == before
    bench.throttle.reconfigure(minimum_throughput=41)
    assert bench.throttle.probability == 0


def test_it_shows_its_options_and_what_it_is():
    throttle = AdaptiveThrottle("search", ratio=1.5, window=120)
    assert repr(throttle) == "AdaptiveThrottle('search', ratio 1.5 over 120 s)"
    assert throttle.traits is Trait.BREAKS
