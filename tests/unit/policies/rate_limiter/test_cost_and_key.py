import pytest

from prodkit import Pipeline
from prodkit.errors import (
    Code,
    ConfigurationError,
    InternalError,
    RateLimitedError,
    UnauthenticatedError,
    code_of,
)
from prodkit.policies.rate_limiter import Rate, RateExceeded, RateLimiter, SlidingLog, by_client

pytestmark = pytest.mark.anyio


async def answer(call):
    return "done"


def limited(*rates, clock, **options):
    options.setdefault("key", lambda call: "key")
    return Pipeline(RateLimiter(*rates, clock=clock, **options)).bind(answer)


def costing(call, cost):
    call.operation = cost
    return call


@pytest.mark.parametrize("kind", [Rate, SlidingLog])
async def test_a_call_counts_as_much_as_it_costs(clock, ask, kind):
    handler = limited(kind(10, per=60), clock=clock, cost=lambda call: call.operation)
    await handler(costing(ask(), 7))
    call = costing(ask(), 4)
    with pytest.raises(RateLimitedError):
        await handler(call)
    call = costing(ask(), 3)
    await handler(call)
    assert call.reply["ratelimit"].startswith('"default";r=0;')


async def test_what_costs_nothing_is_free(clock, ask):
    handler = limited(Rate(1, per=60), clock=clock, cost=lambda call: call.operation)
    await handler(costing(ask(), 1))
    call = costing(ask(), 0)
    assert await handler(call) == "done"
    assert call.reply is None


async def test_what_is_free_is_passed_on_as_it_is(clock, ask):
    async def serve(call):
        return call

    limiter = RateLimiter(Rate(1), key=lambda call: "key", cost=lambda call: 0, clock=clock)
    call = ask()
    assert await Pipeline(limiter).bind(serve)(call) is call


async def test_what_costs_more_than_may_come_at_once_is_told_that_waiting_does_not_help(clock, ask):
    rates = Rate(100, per=1, burst=10), SlidingLog(50, per=60)
    handler = limited(*rates, clock=clock, cost=lambda call: call.operation, max_wait=60)
    await handler(costing(ask(), 10))
    call = costing(ask(), 11)
    with pytest.raises(RateLimitedError, match="can never be admitted by 100 calls") as refused:
        await handler(call)
    error = refused.value
    assert (error.measured, error.threshold, error.retry_after) == (11, 10, None)
    assert (error.policy, error.refuses(call)) == ("rate_limiter default", True)
    assert call.payload == [RateExceeded("rate_limiter default", None)]


@pytest.mark.parametrize("cost", [-1, 1.0, True, None, float("nan"), "1"])
async def test_a_cost_that_is_no_whole_number_is_a_fault(clock, ask, cost):
    handler = limited(Rate(1), clock=clock, cost=lambda call: cost)
    with pytest.raises(ConfigurationError, match="cost must return a whole number"):
        await handler(ask())


async def test_a_key_function_that_fails_fails_the_call_and_not_the_limit(clock, ask):
    def broken(call):
        raise KeyError("tenant")

    with pytest.raises(InternalError, match="its key function gave no key") as failed:
        await limited(Rate(1), clock=clock, key=broken)(ask())
    assert isinstance(failed.value.__cause__, KeyError)
    assert code_of(failed.value) is Code.INTERNAL


async def test_a_key_function_that_gives_no_text_does_not_put_all_callers_together(clock, ask):
    with pytest.raises(InternalError, match="its key function gave no key"):
        await limited(Rate(1), clock=clock, key=lambda call: None)(ask())


async def test_what_a_key_function_says_of_the_caller_reaches_the_caller(clock, ask):
    def strict(call):
        raise UnauthenticatedError("who are you?")

    with pytest.raises(UnauthenticatedError, match="who are you"):
        await limited(Rate(1), clock=clock, key=strict)(ask())
    with pytest.raises(ConfigurationError, match=r"no client address: put .* give it another key"):
        await limited(Rate(1), clock=clock, key=by_client)(ask())


@pytest.mark.parametrize("option", ["key", "cost"])
def test_functions_are_functions(option):
    with pytest.raises(ConfigurationError, match=f"{option} must be a plain function"):
        RateLimiter(Rate(1), **{option: "tenant"})
