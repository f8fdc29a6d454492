import pytest

from prodkit import Pipeline
from prodkit.errors import ConfigurationError, RateLimitedError
from prodkit.policies.rate_limiter import Rate, RateLimiter, SlidingLog

pytestmark = pytest.mark.anyio


async def answer(call):
    return "done"


async def admitted(handler, ask, calls):
    count = 0
    for _ in range(calls):
        try:
            await handler(ask())
        except RateLimitedError:
            continue
        count += 1
    return count


@pytest.mark.parametrize("as_sequence", [False, True])
@pytest.mark.parametrize("kind", [Rate, SlidingLog])
async def test_a_call_is_admitted_by_all_rates_or_counts_in_none(clock, ask, kind, as_sequence):
    rates = [kind(4, per=1), kind(10, per=3600)]
    limiter = RateLimiter(rates, clock=clock) if as_sequence else RateLimiter(*rates, clock=clock)
    assert limiter.rates == tuple(rates)
    handler = Pipeline(limiter).bind(answer)
    counts = []
    for _ in range(4):
        counts.append(await admitted(handler, ask, 50))
        await clock.advance(1.0)
    assert counts == [4, 4, 2, 0]


async def test_the_fields_list_all_rates_and_the_refusal_names_the_one_with_the_longest_wait(
    clock, ask
):
    limiter = RateLimiter(
        Rate(2, per=1), SlidingLog(3, per=3600, name="hour"), name="api", clock=clock
    )
    handler = Pipeline(limiter).bind(answer)
    call = ask()
    await handler(call)
    assert call.reply == {
        "ratelimit-policy": '"api-1s";q=2;w=1, "hour";q=3;w=3600',
        "ratelimit": '"api-1s";r=1;t=1, "hour";r=2;t=3600',
    }
    await handler(ask())
    call = ask()
    with pytest.raises(RateLimitedError, match="more than 2 calls in 1 s") as refused:
        await handler(call)
    assert (refused.value.threshold, refused.value.retry_after) == (2, 0.5)
    assert call.reply["ratelimit"] == '"api-1s";r=0;t=1, "hour";r=1;t=3600'
    await clock.advance(60.0)
    await handler(ask())
    call = ask()
    with pytest.raises(RateLimitedError, match="more than 3 calls in any 3600 s") as refused:
        await handler(call)
    assert (refused.value.threshold, refused.value.retry_after) == (3, 3540.0)
    assert call.reply["ratelimit"] == '"api-1s";r=1;t=1, "hour";r=0;t=3540'


async def test_what_is_left_of_a_log_is_whole_when_its_last_call_leaves(clock, ask):
    handler = Pipeline(RateLimiter(SlidingLog(3, per=60), clock=clock)).bind(answer)
    seen = []
    for _ in range(3):
        call = ask()
        await handler(call)
        seen.append(call.reply["ratelimit"])
        await clock.advance(10)
    assert seen == ['"default";r=2;t=60', '"default";r=1;t=60', '"default";r=0;t=40']


def test_rates_that_share_a_name_are_refused():
    with pytest.raises(ConfigurationError, match="names of their own"):
        RateLimiter(Rate(1, per=1), SlidingLog(1, per=1))
    RateLimiter(Rate(1, per=1), SlidingLog(1, per=1, name="strict"))


@pytest.mark.parametrize("rates", [(), ([],), (Rate(1), 5), ([Rate(1)], Rate(2)), ("ab",)])
def test_rates_are_one_or_several(rates):
    with pytest.raises(ConfigurationError, match="rates must be one or several"):
        RateLimiter(*rates)


def test_a_limiter_is_one_line_of_a_drawing():
    limiter = RateLimiter(Rate(100), Rate(5000, per=3600), name="api", max_wait=2)
    assert repr(limiter) == "RateLimiter('api', 100 calls in 1 s, 5000 calls in 3600 s, waits 2 s)"
    assert repr(RateLimiter(Rate(100))) == "RateLimiter('default', 100 calls in 1 s)"


async def test_a_refusal_is_that_of_the_slowest_rate_and_its_wait_is_rounded_up(clock, ask):
    limiter = RateLimiter(Rate(10, per=1), Rate(2, per=60), clock=clock)
    handler = Pipeline(limiter).bind(answer)
    for _ in range(2):
        await handler(ask())
    with pytest.raises(RateLimitedError) as refused:
        await handler(ask())
    error = refused.value
    assert (error.measured, error.threshold, error.retry_after) == (3, 2, 30.0)
    handler = Pipeline(RateLimiter(Rate(7, per=1, burst=1), clock=clock)).bind(answer)
    await handler(ask())
    with pytest.raises(RateLimitedError) as refused:
        await handler(ask())
    assert refused.value.retry_after == 0.143
