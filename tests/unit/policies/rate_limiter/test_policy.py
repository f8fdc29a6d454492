import pytest

from prodkit import Call, Doorway, Kind, Pipeline, Principal, Trait
from prodkit.errors import Code, ConfigurationError, RateLimitedError, UnauthenticatedError
from prodkit.policies.rate_limiter import (
    Rate,
    RateExceeded,
    RateLimiter,
    by_client,
    by_principal,
)
from prodkit.stores.memory import MemoryRateLimitStore
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio


async def answer(call):
    return "done"


def ask(subject="ann", kind=Kind.SERVER, **metadata):
    headers = {name.replace("_", "-"): value for name, value in metadata.items()}
    return Call("op", kind, principal=subject and Principal(subject), metadata=headers)


async def test_a_burst_passes_and_the_next_call_is_refused_with_the_reason():
    clock = ManualClock()
    handler = Pipeline(RateLimiter(Rate(3, per=60), name="api", clock=clock)).bind(answer)
    for _ in range(3):
        assert await handler(ask()) == "done"
    await clock.advance(7.0)

    call, heard = ask(), []
    call.subscribe(lambda _, event: heard.append(event))
    with pytest.raises(RateLimitedError) as refused:
        await handler(call)
    error = refused.value
    assert (error.code, error.reason) == (Code.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    assert error.refuses(call)
    assert error.policy == "rate_limiter api"
    assert error.threshold == 3
    assert error.measured == pytest.approx(4 - 7 / 20)
    assert error.retry_after == 13.0
    assert heard == [RateExceeded("rate_limiter api", 13.0)]


@pytest.mark.parametrize("rate", [Rate(3), Rate(7, per=0.3), Rate(1, per=3600), Rate(900, burst=2)])
async def test_retry_after_is_enough_and_not_a_millisecond_too_much(rate):
    clock = ManualClock(monotonic=123456.789)
    handler = Pipeline(RateLimiter(rate, key=by_principal, clock=clock)).bind(answer)
    for _ in range(rate.tolerance // rate.interval):
        await handler(ask())
    with pytest.raises(RateLimitedError) as refused:
        await handler(ask())
    if refused.value.retry_after > 0.002:
        await clock.advance(refused.value.retry_after - 0.002)
        with pytest.raises(RateLimitedError) as refused:
            await handler(ask())
    await clock.advance(refused.value.retry_after)
    assert await handler(ask()) == "done"


async def test_the_fields_tell_what_remains_on_admitted_and_refused_calls():
    clock = ManualClock()
    handler = Pipeline(RateLimiter(Rate(2, per=60), name="api", clock=clock)).bind(answer)
    calls = [ask(), ask(), ask()]
    await handler(calls[0])
    await handler(calls[1])
    with pytest.raises(RateLimitedError) as refused:
        await handler(calls[2])
    assert refused.value.retry_after == 30  # as `t` says
    seen = [call.reply for call in calls]
    assert [reply["ratelimit"] for reply in seen] == [
        '"api";r=1;t=30',
        '"api";r=0;t=30',
        '"api";r=0;t=30',
    ]
    assert {reply["ratelimit-policy"] for reply in seen} == {'"api";q=2;w=60'}


async def test_what_a_call_replies_already_stays():
    call = ask()
    call.annotate("etag", "x")
    await Pipeline(RateLimiter(Rate(5))).bind(answer)(call)
    assert list(call.reply) == ["etag", "ratelimit-policy", "ratelimit"]


async def test_a_refused_call_that_goes_out_has_no_fields():
    handler = Pipeline(RateLimiter(Rate(1))).bind(answer)
    await handler(ask(kind=Kind.CLIENT))
    call = ask(kind=Kind.CLIENT)
    with pytest.raises(RateLimitedError):
        await handler(call)
    assert call.reply is None


async def test_two_limiters_share_one_field():
    store, clock = MemoryRateLimitStore(), ManualClock()
    second = RateLimiter(Rate(5), name="second", store=store, clock=clock)
    hour = RateLimiter(Rate(100, per=3600, burst=10), name="hour", store=store, clock=clock)
    call = ask()
    await Pipeline(second, hour).bind(answer)(call)
    assert call.reply["ratelimit"] == '"second";r=4;t=1, "hour";r=9;t=36'
    assert call.reply["ratelimit-policy"] == '"second";q=5;w=1, "hour";q=10;w=360'


@pytest.mark.parametrize(
    ("rate", "window"),
    [
        (Rate(60), 1),
        (Rate(7, per=60), 60),
        (Rate(3, per=0.5), 1),
        (Rate(7, per=60, burst=3), 26),  # 25.7 s
        (Rate(7, per=60, burst=10), 86),  # 85.7 s
        (Rate(3, burst=10_000_000_000), 3_333_333_334),
    ],
)
async def test_the_window_is_that_of_the_rate_as_it_was_written(rate, window):
    call = ask()
    await Pipeline(RateLimiter(rate, clock=ManualClock())).bind(answer)(call)
    assert call.reply["ratelimit-policy"].endswith(f";w={window}")


@pytest.mark.parametrize(("kind", "fields"), [(Kind.CLIENT, True), (Kind.SERVER, False)])
async def test_no_fields_where_nobody_reads_them_or_wants_them(kind, fields):
    call = ask(kind=kind)
    await Pipeline(RateLimiter(Rate(5), fields=fields)).bind(answer)(call)
    assert call.reply is None


async def test_each_principal_has_a_rate_of_its_own():
    handler = Pipeline(RateLimiter(Rate(1, per=60), clock=ManualClock())).bind(answer)
    await handler(ask("ann"))
    await handler(ask("bob"))
    with pytest.raises(RateLimitedError):
        await handler(ask("ann"))


async def test_a_refusal_costs_nothing():
    clock = ManualClock()
    handler = Pipeline(RateLimiter(Rate(1, per=1), clock=clock)).bind(answer)
    await handler(ask())
    for _ in range(100):
        with pytest.raises(RateLimitedError):
            await handler(ask())
    await clock.advance(1.0)
    assert await handler(ask()) == "done"


def test_keyed_by_principal_needs_authentication_before_it():
    limited = Pipeline(RateLimiter(Rate(1)))
    assert limited.traits == Trait.NEEDS_PRINCIPAL
    with pytest.raises(ConfigurationError, match="authentication must come before"):
        limited.admit(Doorway("asgi", Kind.SERVER))
    Pipeline(RateLimiter(Rate(1), key=by_client)).admit(Doorway("asgi", Kind.SERVER))


async def test_a_caller_that_stayed_unknown_is_told_so():
    with pytest.raises(UnauthenticatedError):
        await Pipeline(RateLimiter(Rate(1))).bind(answer)(ask(subject=None))


@pytest.mark.parametrize("rate", [10, (10, 1.0)])
def test_a_rate_is_a_rate(rate):
    with pytest.raises(ConfigurationError, match="rates must be one or several"):
        RateLimiter(rate)


def test_a_name_goes_into_a_header_so_it_is_checked():
    with pytest.raises(ValueError, match="name"):
        RateLimiter(Rate(1), name='a"\r\nset-cookie: x')
