"""Refusals come in crowds: none may wait for the garbage collector, which would stop the world."""

import gc
import weakref

import pytest

from prodkit import Call, Pipeline
from prodkit.errors import RejectedError
from prodkit.policies.circuit_breaker import CircuitBreaker, SharedCircuitBreaker
from prodkit.policies.rate_limiter import Rate, RateLimiter
from prodkit.stores.memory import MemoryBreakerStore

pytestmark = pytest.mark.anyio


async def isolated():
    breaker = CircuitBreaker("dependency")
    breaker.isolate()
    return breaker


async def isolated_fleet():
    breaker = SharedCircuitBreaker("dependency", MemoryBreakerStore())
    await breaker.isolate()
    return breaker


async def spent():
    limiter = RateLimiter(Rate(1, per=3600.0), key=lambda call: call.operation)
    await Pipeline(limiter).bind(leaf)(Call("op"))
    return limiter


async def leaf(call):
    return "answer"


@pytest.mark.parametrize("make", [isolated, isolated_fleet, spent])
async def test_one_is_gone_as_soon_as_nobody_has_it(make):
    handler = Pipeline(await make()).bind(leaf)
    gc.collect()
    gc.disable()
    try:
        gone = await refused(handler)
        assert gone() is None
    finally:
        gc.enable()


async def refused(handler):
    try:
        await handler(Call("op"))
    except RejectedError as error:
        return weakref.ref(error)
    raise AssertionError("it was not refused")
