"""Rate limiters on one Redis: decisions a second, over redis-py running a script."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from benchmarks.engines.measure import Contestant, Once, Row

from prodkit.testing.servers import PrivateRedis

PLENTY = 10**9
BUDGETS = {1: 0.95, 50: 4.0, 200: 8.0}


@asynccontextmanager
async def opened() -> AsyncIterator[list[Row]]:
    from prodkit.stores.redis import RedisConnection

    with PrivateRedis() as server:
        url = f"{server.url}?max_connections=1000"  # redis-py's own 100 are too few for 200 callers
        async with RedisConnection(server.url, timeout=5.0) as redis:
            contestants = [
                Contestant("redis-py, EVALSHA of the same script", lambda: bare(url)),
                Contestant("prodkit", lambda: store(redis)),
                Contestant("prodkit, the whole policy", lambda: policy(redis)),
                Contestant("prodkit, exact log", lambda: exact(redis)),
                Contestant("prodkit, three limits", lambda: three(redis)),
                Contestant("limits", lambda: limits(url)),
                Contestant("throttled-py", lambda: throttled(url)),
            ]
            yield [
                Row("Rate limit on Redis", callers, contestants, budget)
                for callers, budget in BUDGETS.items()
            ]


async def bare(url: str) -> Once:
    """The floor: what everybody's limiter does with redis-py, and nothing around it."""
    from redis.asyncio import Redis

    client = Redis.from_url(url)
    source = files("prodkit.stores.redis").joinpath("rate_limit.lua").read_text()
    digest = await client.script_load(source)

    async def once() -> None:
        await client.evalsha(digest, 1, "{bare}", 1, 0, "rate", 1, PLENTY)

    return once


def take(redis: Any, name: str, *limits: Any) -> Once:
    from prodkit.stores.redis import RedisRateLimitStore

    counted = RedisRateLimitStore(redis)

    async def once() -> None:
        answer = await counted.take(name, limits, 1, 0, 0)
        if answer[1]:
            raise RuntimeError("refused")

    return once


def store(redis: Any) -> Once:
    from prodkit.policies.rate_limiter import Rate

    return take(redis, "one", Rate(PLENTY))


def exact(redis: Any) -> Once:
    from prodkit.policies.rate_limiter import SlidingLog

    return take(redis, "exact", SlidingLog(PLENTY // 1000, per=0.1))


def three(redis: Any) -> Once:
    from prodkit.policies.rate_limiter import Rate

    rates = Rate(PLENTY), Rate(PLENTY, per=60), Rate(PLENTY, per=3600)
    return take(redis, "three", *rates)


def policy(redis: Any) -> Once:
    from prodkit import Call, Pipeline
    from prodkit.policies.rate_limiter import Rate, RateLimiter
    from prodkit.stores.redis import RedisRateLimitStore

    async def leaf(_call: Call) -> int:
        return 1

    limiter = RateLimiter(
        Rate(PLENTY),
        key=lambda _call: "policy",
        store=RedisRateLimitStore(redis),
        store_timeout=5.0,
        on_store_failure="closed",
    )
    handler = Pipeline(limiter).bind(leaf)
    return lambda: handler(Call("operation", safe=True))


def limits(url: str) -> Once:
    from limits import RateLimitItemPerSecond
    from limits.aio.storage import RedisStorage
    from limits.aio.strategies import SlidingWindowCounterRateLimiter

    storage = RedisStorage(f"async+{url}", implementation="redispy")
    limiter, item = SlidingWindowCounterRateLimiter(storage), RateLimitItemPerSecond(PLENTY)

    async def once() -> None:
        if not await limiter.hit(item, "limits"):
            raise RuntimeError("refused")

    return once


def throttled(url: str) -> Once:
    from throttled.asyncio import RateLimiterType, RedisStore, Throttled, per_sec

    limiter = Throttled(
        key="throttled",
        using=RateLimiterType.GCRA.value,
        quota=per_sec(PLENTY, burst=PLENTY),
        store=RedisStore(server=url),
    )

    async def once() -> None:
        if (await limiter.limit()).limited:
            raise RuntimeError("refused")

    return once
