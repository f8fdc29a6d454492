"""Rate limiters in memory: a call that is admitted, and one that is refused."""

from __future__ import annotations

from typing import Any

from benchmarks.policies import floors
from benchmarks.policies.measure import (
    Contestant,
    Once,
    Pair,
    Row,
    around,
    leaf,
    refused,
    refused_through,
    through,
)

from prodkit import Pipeline

PLENTY = 10**9


def ours(limit: int = PLENTY, per: float = 1.0) -> Any:
    from prodkit.policies.rate_limiter import Rate, RateLimiter

    return RateLimiter(Rate(limit, per), key=lambda _call: "key")


def ours_exact() -> Any:
    from prodkit.policies.rate_limiter import RateLimiter, SlidingLog

    return RateLimiter(SlidingLog(1000, per=0.001), key=lambda _call: "key")


def ours_two() -> Any:
    from prodkit.policies.rate_limiter import Rate, RateLimiter

    rates = Rate(PLENTY, name="second"), Rate(PLENTY, per=3600.0, name="hour")
    return RateLimiter(*rates, key=lambda _call: "key")


async def ours_refuses() -> Pair:
    from prodkit.errors import RateLimitedError

    limiter = ours(1, 3600.0)
    await through(limiter).once()
    return refused_through(limiter, error=RateLimitedError)


def limits(strategy: str, limit: int = PLENTY) -> Once:
    from limits import RateLimitItemPerHour
    from limits.aio import strategies
    from limits.aio.storage import MemoryStorage

    limiter = getattr(strategies, strategy)(MemoryStorage())
    item = RateLimitItemPerHour(limit)

    async def call() -> Any:
        if not await limiter.hit(item, "key"):
            raise RuntimeError("refused")
        return await leaf()

    return call


def slowapi() -> Pair:
    from slowapi import Limiter
    from starlette.requests import Request
    from starlette.responses import Response

    limiter, response = Limiter(key_func=lambda: "key"), Response()

    async def endpoint(request: Request) -> Response:
        return response

    def request() -> Request:
        return Request({"type": "http", "path": "/", "method": "GET", "headers": [], "state": {}})

    limited = limiter.limit(f"{PLENTY}/hour")(endpoint)
    return Pair(lambda: limited(request()), lambda: endpoint(request()))


def throttled(algorithm: str, quota: str = f"{PLENTY}/h burst {PLENTY}") -> Once:
    from throttled.asyncio import MemoryStore, Throttled

    limiter = Throttled(using=algorithm, quota=quota, store=MemoryStore())

    async def call() -> Any:
        if (await limiter.limit("key")).limited:
            raise RuntimeError("refused")
        return await leaf()

    return call


def aiolimiter() -> Once:
    from aiolimiter import AsyncLimiter

    limiter = AsyncLimiter(PLENTY, 1)

    async def call() -> Any:
        async with limiter:
            return await leaf()

    return call


def hyx() -> Once:
    from hyx.ratelimit import tokenbucket

    return tokenbucket(max_executions=PLENTY, per_time_secs=1)(leaf)


def nopanic(limit: int = PLENTY, per: float = 1.0) -> Once:
    from nopanic import rate_limit

    return rate_limit(limit, per=per, max_wait=0)(leaf)


def cashews() -> Once:
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://")
    return cache.rate_limit(limit=PLENTY, period="1h", key="key")(leaf)


async def spent(call: Once, error: type[BaseException]) -> Pair:
    await call()
    return refused(call, error)


async def nopanic_refuses() -> Pair:
    from nopanic import RateLimited

    return await spent(nopanic(1, 3600.0), RateLimited)


_FIXED = "FixedWindowRateLimiter"
ROWS = [
    Row(
        "limiter in memory, admitted",
        [
            Contestant("floor", lambda: around(floors.limiter())),
            Contestant("prodkit", lambda: through(ours())),
            Contestant("prodkit, decorated", lambda: around(Pipeline(ours())(leaf))),
            Contestant("prodkit (SlidingLog)", lambda: through(ours_exact())),
            Contestant("prodkit (two rates)", lambda: through(ours_two())),
            Contestant("limits (fixed window)", lambda: around(limits(_FIXED))),
            Contestant(
                "limits (sliding counter)",
                lambda: around(limits("SlidingWindowCounterRateLimiter")),
            ),
            Contestant("throttled-py (token bucket)", lambda: around(throttled("token_bucket"))),
            Contestant("throttled-py (GCRA)", lambda: around(throttled("gcra"))),
            Contestant("aiolimiter (without keys)", lambda: around(aiolimiter())),
            Contestant("hyx (without keys)", lambda: around(hyx())),
            Contestant("nopanic (without keys)", lambda: around(nopanic())),
            Contestant("cashews", lambda: around(cashews())),
            Contestant("slowapi", slowapi),
        ],
        budget=1.5,
    ),
    Row(
        "limiter in memory, refused",
        [
            Contestant("floor", lambda: refused(floors.limiter_refuses(), RuntimeError)),
            Contestant("prodkit", ours_refuses),
            Contestant("limits (fixed window)", lambda: spent(limits(_FIXED, 1), RuntimeError)),
            Contestant(
                "throttled-py (GCRA)",
                lambda: spent(throttled("gcra", "1/h burst 1"), RuntimeError),
            ),
            Contestant("nopanic (without keys)", nopanic_refuses),
        ],
        over="raising and catching",
    ),
]
