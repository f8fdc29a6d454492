import pytest

from prodkit import Call, Kind, Pipeline, Principal, Trait
from prodkit.errors import Code, ConfigurationError, RateLimitedError, UnauthenticatedError
from prodkit.policies.rate_limiter import (
    Rate,
    RateExceeded,
    RateLimiter,
    by_caller,
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


async def test_two_limiters_share_one_field():
    store, clock = MemoryRateLimitStore(), ManualClock()
    second = RateLimiter(Rate(5), name="second", store=store, clock=clock)
    hour = RateLimiter(Rate(100, per=3600, burst=10), name="hour", store=store, clock=clock)
    call = ask()
    await Pipeline(second, hour).bind(answer)(call)
    assert call.reply["ratelimit"] == '"second";r=4;t=1, "hour";r=9;t=36'
    assert call.reply["ratelimit-policy"] == '"second";q=5;w=1, "hour";q=10;w=360'


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
        limited.check(door="asgi", kind=Kind.SERVER)
    Pipeline(RateLimiter(Rate(1), key=by_client)).check(door="asgi", kind=Kind.SERVER)


async def test_a_caller_that_stayed_unknown_is_told_so():
    with pytest.raises(UnauthenticatedError):
        await Pipeline(RateLimiter(Rate(1))).bind(answer)(ask(subject=None))


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unix:/run/x", "unix:/run/x"),
    ],
)
def test_a_client_is_its_address_and_for_ipv6_its_network(address, key):
    assert by_client(ask(client_address=address)) == key


def test_a_door_without_addresses_cannot_be_limited_by_them():
    with pytest.raises(ConfigurationError, match="client address"):
        by_client(ask())


def test_a_caller_cannot_pose_as_an_address():
    known = by_caller(ask("192.0.2.7"))
    unknown = by_caller(ask(None, client_address="192.0.2.7"))
    assert known != unknown


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1, "per": 0}, "per"),
        ({"limit": 1, "per": float("inf")}, "per"),
        ({"limit": 1, "burst": 0}, "burst"),
        ({"limit": "5"}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": float("nan")}, "limit"),
        ({"limit": 1, "burst": 2.5}, "burst"),
    ],
)
def test_a_rate_that_cannot_be_is_refused_by_name(options, named):
    with pytest.raises(ValueError, match=named):
        Rate(**options)


@pytest.mark.parametrize("rate", [10, (10, 1.0)])
def test_a_rate_is_a_rate(rate):
    with pytest.raises(ConfigurationError, match="rate must be a Rate"):
        RateLimiter(rate)


def test_a_name_goes_into_a_header_so_it_is_checked():
    with pytest.raises(ValueError, match="name"):
        RateLimiter(Rate(1), name='a"\r\nset-cookie: x')
