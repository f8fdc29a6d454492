"""Rate limiters at 100 calls a second, each as its own documentation uses it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from benchmarks.behaviour.scenario import Subject
from benchmarks.behaviour.world import World

LIMIT = 100

#: Says whether a call gets in, or raises where it does not; it may make the call wait.
Limiter = Callable[[], Awaitable[Any]]


def prodkit(world: World, burst: int | None = None) -> Limiter:
    from prodkit import Call
    from prodkit.policies.rate_limiter import Rate, RateLimiter

    limiter = RateLimiter(Rate(LIMIT, burst=burst), key=lambda _call: "key", clock=world)

    async def admit(_call: Call) -> bool:
        return True

    return lambda: limiter(Call("operation"), admit)


def prodkit_log(world: World) -> Limiter:
    from prodkit import Call
    from prodkit.policies.rate_limiter import RateLimiter, SlidingLog

    limiter = RateLimiter(SlidingLog(LIMIT), key=lambda _call: "key", clock=world)

    async def admit(_call: Call) -> bool:
        return True

    return lambda: limiter(Call("operation"), admit)


def limits(strategy: str, _world: World) -> Limiter:
    from limits import RateLimitItemPerSecond
    from limits.aio import strategies
    from limits.aio.storage import MemoryStorage

    limiter = getattr(strategies, strategy)(MemoryStorage())
    return partial(limiter.hit, RateLimitItemPerSecond(LIMIT), "key")


def slowapi(_world: World) -> Limiter:
    from slowapi import Limiter as SlowLimiter
    from starlette.requests import Request
    from starlette.responses import Response

    limiter = SlowLimiter(key_func=lambda: "key")

    @limiter.limit(f"{LIMIT}/second")
    async def endpoint(request: Request) -> Response:
        return Response()

    async def admit() -> bool:
        scope = {"type": "http", "path": "/", "method": "GET", "headers": [], "state": {}}
        await endpoint(Request(scope))
        return True

    return admit


def throttled(algorithm: str, _world: World, burst: int = LIMIT) -> Limiter:
    from throttled.asyncio import MemoryStore, Throttled

    limiter = Throttled(using=algorithm, quota=f"{LIMIT}/s burst {burst}", store=MemoryStore())

    async def admit() -> bool:
        return not (await limiter.limit("key")).limited

    return admit


def aiolimiter(_world: World, burst: int = LIMIT) -> Limiter:
    from aiolimiter import AsyncLimiter

    limiter = AsyncLimiter(burst, burst / LIMIT)

    async def admit() -> bool:
        async with limiter:  # waits for its turn
            return True

    return admit


def hyx(_world: World) -> Limiter:
    from hyx.ratelimit import tokenbucket

    limiter = tokenbucket(max_executions=LIMIT, per_time_secs=1)

    async def admit() -> bool:
        async with limiter:
            return True

    return admit


def nopanic(world: World, burst: int = LIMIT) -> Limiter:
    from nopanic import rate_limit

    @rate_limit(LIMIT, per=1.0, burst=burst, max_wait=0, clock=world.monotonic)
    async def admit() -> bool:
        return True

    return admit


def cashews(strategy: str, _world: World) -> Limiter:
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://")

    @getattr(cache, strategy)(limit=LIMIT, period=1, key="key")
    async def admit() -> bool:
        return True

    return admit


SUBJECTS: list[Subject[Limiter]] = [
    Subject("prodkit (SlidingLog)", prodkit_log),
    Subject("prodkit (Rate)", prodkit),
    Subject("prodkit (Rate, burst 1)", partial(prodkit, burst=1)),
    Subject("limits (fixed window)", partial(limits, "FixedWindowRateLimiter")),
    Subject("limits (sliding counter)", partial(limits, "SlidingWindowCounterRateLimiter")),
    Subject("limits (moving window)", partial(limits, "MovingWindowRateLimiter")),
    Subject("slowapi", slowapi),
    Subject("throttled-py (fixed window)", partial(throttled, "fixed_window")),
    Subject("throttled-py (sliding window)", partial(throttled, "sliding_window")),
    Subject("throttled-py (token bucket)", partial(throttled, "token_bucket")),
    Subject("throttled-py (leaking bucket)", partial(throttled, "leaking_bucket")),
    Subject("throttled-py (GCRA)", partial(throttled, "gcra")),
    Subject("throttled-py (GCRA, burst 1)", partial(throttled, "gcra", burst=1)),
    Subject("aiolimiter", aiolimiter),
    Subject("aiolimiter (burst 1)", partial(aiolimiter, burst=1)),
    Subject("hyx", hyx),
    Subject("nopanic", nopanic),
    Subject("nopanic (burst 1)", partial(nopanic, burst=1)),
    Subject("cashews (rate_limit)", partial(cashews, "rate_limit")),
    Subject("cashews (slice_rate_limit)", partial(cashews, "slice_rate_limit")),
]
