import pytest

from prodkit import Pipeline, Trait
from prodkit.errors import ConfigurationError, RateLimitedError
from prodkit.policies.rate_limiter import Rate, RateLimiter, SlidingLog

pytestmark = pytest.mark.anyio


async def answer(call):
    return "done"


async def admitted(limiter, ask, calls=50):
    handler, count = Pipeline(limiter).bind(answer), 0
    for _ in range(calls):
        try:
            await handler(ask())
        except RateLimitedError:
            continue
        count += 1
    return count


async def test_a_rate_keeps_the_time_that_was_spent(clock, ask):
    limiter = RateLimiter(Rate(10, per=60), clock=clock)
    assert await admitted(limiter, ask, 5) == 5  # half of the minute
    limiter.reconfigure(rates=Rate(100, per=60))
    assert await admitted(limiter, ask, 80) == 50
    limiter.reconfigure(rates=Rate(10, per=6))  # a minute is spent, six seconds may be
    assert await admitted(limiter, ask) == 0
    await clock.advance(54.6)
    assert await admitted(limiter, ask) == 1


async def test_a_log_keeps_the_calls(clock, ask):
    limiter = RateLimiter(SlidingLog(10, per=60), clock=clock)
    assert await admitted(limiter, ask, 8) == 8
    limiter.reconfigure(rates=SlidingLog(9, per=120))
    assert await admitted(limiter, ask) == 1
    limiter.reconfigure(rates=SlidingLog(3, per=120))
    await clock.advance(119.9)
    assert await admitted(limiter, ask) == 0
    await clock.advance(0.1)
    assert await admitted(limiter, ask) == 3


async def test_each_place_keeps_its_counts_and_a_new_place_begins_whole(clock, ask):
    limiter = RateLimiter(Rate(5, per=60), clock=clock)
    assert await admitted(limiter, ask, 4) == 4
    limiter.reconfigure(rates=[Rate(5, per=60), SlidingLog(2, per=1)])
    assert await admitted(limiter, ask) == 1
    limiter.reconfigure(rates=[SlidingLog(5, per=60), SlidingLog(2, per=1)])
    assert await admitted(limiter, ask) == 1  # the first is another algorithm: it begins anew
    await clock.advance(1)
    limiter.reconfigure(rates=SlidingLog(5, per=60))
    assert await admitted(limiter, ask) == 4
    limiter.reconfigure(rates=Rate(7, per=60))
    assert await admitted(limiter, ask) == 7


async def test_cost_and_wait_change_and_what_is_not_named_stays(clock, ask):
    limiter = RateLimiter(Rate(6, per=60), clock=clock)
    limiter.reconfigure(cost=lambda call: 2, max_wait=1.0)
    assert (limiter.longest_wait, Trait.QUEUES in limiter.traits) == (1.0, True)
    limiter.reconfigure(max_wait=0)
    assert Trait.QUEUES not in limiter.traits
    limiter.reconfigure()
    assert await admitted(limiter, ask) == 3
    assert limiter.rates == (Rate(6, per=60),)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rates": []},
        {"rates": 5},
        {"cost": 5},
        {"max_wait": -1},
        {"on_store_failure": "maybe"},
    ],
)
async def test_nothing_changes_if_one_option_is_wrong(clock, ask, wrong):
    limiter = RateLimiter(Rate(6, per=60), clock=clock)
    right = {
        "rates": Rate(1),
        "cost": lambda call: 6,
        "max_wait": 9,
        "on_store_failure": "closed",
    }
    with pytest.raises(ConfigurationError):
        limiter.reconfigure(**(right | wrong))
    assert (limiter.rates, limiter.longest_wait) == ((Rate(6, per=60),), 0)
    assert await admitted(limiter, ask) == 6
