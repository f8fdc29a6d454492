import asyncio
from datetime import timedelta

import pytest

from prodkit import Pipeline, Trait
from prodkit.errors import ConfigurationError, RateLimitedError
from prodkit.policies.rate_limiter import (
    Rate,
    RateDelayed,
    RateExceeded,
    RateLimiter,
    SlidingLog,
    by_client,
)

pytestmark = pytest.mark.anyio


class Desk:
    """Serves calls and notes when."""

    def __init__(self, clock, ask, *rates, **options):
        self.clock = clock
        self.ask = ask
        self.limiter = RateLimiter(*rates, clock=clock, **options)
        self.handler = Pipeline(self.limiter).bind(self.serve)
        self.start = clock.monotonic()
        self.served = []

    async def serve(self, call):
        self.served.append((call.operation, round(self.clock.monotonic() - self.start, 6)))

    def call(self, name="op", **options):
        call = self.ask(**options)
        call.operation = name
        return asyncio.create_task(self.handler(call)), call

    async def crowd(self, names):
        tasks = [self.call(name)[0] for name in names]
        await self.clock.settle()
        return tasks


@pytest.mark.parametrize("kind", [Rate, SlidingLog])
async def test_calls_wait_for_their_turn_in_order(clock, ask, kind):
    desk = Desk(clock, ask, kind(1, per=1), max_wait=3)
    tasks = await desk.crowd("abcdef")
    assert [task.done() for task in tasks] == [True, False, False, False, True, True]
    for refused in tasks[4:]:
        assert isinstance(refused.exception(), RateLimitedError)
    await clock.advance(3)
    assert desk.served == [("a", 0), ("b", 1), ("c", 2), ("d", 3)]
    assert tasks[4].exception().retry_after == 4


async def test_who_waits_says_so_and_its_fields_are_those_of_its_turn(clock, ask):
    desk = Desk(clock, ask, Rate(2, per=4), max_wait=3)
    await desk.crowd("ab")
    task, call = desk.call("c")
    await clock.settle()
    assert call.payload == [RateDelayed("rate_limiter default", 2.0)]
    await clock.advance(2)
    await task
    assert call.reply["ratelimit"] == '"default";r=0;t=2'


async def test_with_several_rates_the_turn_is_one_that_all_admit(clock, ask):
    desk = Desk(clock, ask, Rate(1, per=1), SlidingLog(3, per=10), max_wait=60)
    await desk.crowd("abcdef")
    await clock.advance(60)
    assert [at for _, at in desk.served] == [0, 1, 2, 10, 11, 12]


async def test_what_the_deadline_does_not_leave_time_for_is_refused_at_once(clock, ask):
    desk = Desk(clock, ask, Rate(1, per=1), max_wait=60)
    await desk.crowd("a")
    late, call = desk.call("b", deadline=clock.monotonic() + 0.9)
    fine, _ = desk.call("c", deadline=clock.monotonic() + 1.0)
    over, _ = desk.call("d", deadline=clock.monotonic() - 5)
    await clock.settle()
    assert isinstance(late.exception(), RateLimitedError)
    assert call.payload == [RateExceeded("rate_limiter default", 1.0)]
    assert isinstance(over.exception(), RateLimitedError)
    await clock.advance(1)
    await fine
    assert desk.served == [("a", 0), ("c", 1)]


@pytest.mark.parametrize("kind", [Rate, SlidingLog])
async def test_who_gives_up_last_gives_the_turn_back(clock, ask, kind):
    desk = Desk(clock, ask, kind(1, per=1), max_wait=9)
    tasks = await desk.crowd("abc")
    tasks[2].cancel()
    await clock.settle()
    await desk.crowd("d")
    await clock.advance(9)
    assert desk.served == [("a", 0), ("b", 1), ("d", 2)]


@pytest.mark.parametrize("kind", [Rate, SlidingLog])
async def test_a_turn_with_somebody_behind_it_stays_empty(clock, ask, kind):
    desk = Desk(clock, ask, kind(1, per=1), max_wait=9)
    tasks = await desk.crowd("abc")
    tasks[1].cancel()
    await clock.settle()
    await desk.crowd("d")
    await clock.advance(9)
    assert desk.served == [("a", 0), ("c", 2), ("d", 3)]


async def test_nobody_passes_those_who_wait_when_the_rate_is_widened(clock, ask):
    desk = Desk(clock, ask, SlidingLog(5, per=1), Rate(1, per=2), max_wait=9)
    await desk.crowd("ab")
    desk.limiter.reconfigure(rates=[SlidingLog(5, per=1), SlidingLog(100, per=2)])
    await desk.crowd("c")
    await clock.advance(9)
    assert desk.served == [("a", 0), ("b", 2), ("c", 2)]


async def test_a_limiter_that_waits_tells_how_long_and_one_that_refuses_does_not_queue():
    waits = RateLimiter(Rate(1), max_wait=timedelta(seconds=2), key=by_client)
    assert (waits.traits, waits.longest_wait) == (Trait.QUEUES, 2.0)
    assert RateLimiter(Rate(1), key=by_client).traits == Trait.NONE
    assert RateLimiter(Rate(1), max_wait=1).traits == Trait.QUEUES | Trait.NEEDS_PRINCIPAL


@pytest.mark.parametrize("wait", [-1, float("nan"), float("inf"), True, False, "1"])
def test_a_wait_is_bounded(wait):
    with pytest.raises(ConfigurationError, match="max_wait"):
        RateLimiter(Rate(1), max_wait=wait)
