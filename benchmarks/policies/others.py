"""Bulkheads, time limits, what looks after the process, and a whole pipeline."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.policies import floors
from benchmarks.policies.measure import Contestant, Once, Pair, Row, around, leaf, through

from prodkit import Pipeline


def bulkhead() -> Any:
    from prodkit.policies.bulkhead import Bulkhead

    return Bulkhead("dependency", limit=10)


def hyx_bulkhead() -> Once:
    from hyx.bulkhead import bulkhead

    return bulkhead(max_concurrency=10, max_capacity=20)(leaf)


def interlock_bulkhead() -> Once:
    from interlock import Pipeline

    return Pipeline.builder().bulkhead(10).build()(leaf)


def nopanic_bulkhead() -> Once:
    from nopanic import bulkhead

    return bulkhead(10, max_wait=0)(leaf)


def timeout() -> Any:
    from prodkit.policies.timeout import Timeout

    return Timeout(10.0)


def deadline() -> Any:
    from prodkit.policies.deadline import Deadline

    return Deadline(10.0)


def asyncio_timeout() -> Once:
    async def call() -> Any:
        async with asyncio.timeout(10):
            return await leaf()

    return call


def wait_for() -> Once:
    async def call() -> Any:
        return await asyncio.wait_for(leaf(), 10)

    return call


def hyx_timeout() -> Once:
    from hyx.timeout import timeout

    return timeout(10)(leaf)


def interlock_timeout() -> Once:
    from interlock import timeout

    async def call() -> Any:
        async with timeout(10):
            return await leaf()

    return call


def nopanic_timeout() -> Once:
    from nopanic import timeout

    return timeout(10.0)(leaf)


def chaos() -> Pair:
    from prodkit.policies.chaos import Chaos

    return through(Chaos(environment="test", error_rate=1e-12))


def adaptive_throttle() -> Pair:
    from prodkit.policies.adaptive_throttle import AdaptiveThrottle

    return through(AdaptiveThrottle("dependency"))


def load_shedder() -> Pair:
    from prodkit.policies.load_shedder import LoadShedder

    return through(LoadShedder())


def whole() -> Pipeline:
    from prodkit.policies.circuit_breaker import CircuitBreaker
    from prodkit.policies.fallback import Fallback
    from prodkit.policies.rate_limiter import Rate, RateLimiter
    from prodkit.policies.retry import Retry

    return Pipeline(
        Fallback(lambda _call, _error: None, on=ConnectionError),
        deadline(),
        RateLimiter(Rate(10**9), key=lambda _call: "key"),
        Retry(on=ConnectionError),
        CircuitBreaker("dependency"),
        bulkhead(),
        timeout(),
    )


def interlock_whole() -> Once:
    from interlock import CircuitBreaker, CircuitOpenError, Pipeline

    pipeline = (
        Pipeline.builder()
        .fallback(lambda _error: None, on=(CircuitOpenError,))
        .retry(attempts=3)
        .circuit_breaker(CircuitBreaker(name="dependency"))
        .bulkhead(10)
        .timeout(10.0)
        .build()
    )
    return pipeline(leaf)


def nopanic_whole() -> Once:
    import nopanic as n

    stack = n.compose(
        n.fallback(lambda _error: None, on=ConnectionError),
        n.deadline(10.0),
        n.rate_limit(10**9, max_wait=0),
        n.retry(attempts=3, on=ConnectionError, budget=n.RetryBudget()),
        n.circuit_breaker(name="dependency"),
        n.bulkhead(10, max_wait=0),
        n.timeout(10.0),
    )
    return stack(leaf)


BOTH = ("uvloop", "asyncio")
ROWS = [
    Row(
        "bulkhead with room",
        [
            Contestant("floor", lambda: around(floors.bulkhead())),
            Contestant("prodkit", lambda: through(bulkhead())),
            Contestant("prodkit, decorated", lambda: around(Pipeline(bulkhead())(leaf))),
            Contestant("hyx", lambda: around(hyx_bulkhead())),
            Contestant("interlock-cb", lambda: around(interlock_bulkhead())),
            Contestant("nopanic", lambda: around(nopanic_bulkhead())),
        ],
    ),
    Row(
        "time limit, kept",
        [
            Contestant("floor", lambda: around(floors.timeout())),
            Contestant("prodkit (Timeout)", lambda: through(timeout())),
            Contestant("prodkit (Deadline)", lambda: through(deadline())),
            Contestant("asyncio.timeout", lambda: around(asyncio_timeout())),
            Contestant("asyncio.wait_for", lambda: around(wait_for())),
            Contestant("hyx", lambda: around(hyx_timeout())),
            Contestant("interlock-cb", lambda: around(interlock_timeout())),
            Contestant("nopanic", lambda: around(nopanic_timeout())),
        ],
        loops=BOTH,
    ),
    Row(
        "chaos asleep, throttle and shedder with room",
        [
            Contestant("floor", lambda: around(floors.nothing())),
            Contestant("prodkit (Chaos, asleep)", chaos),
            Contestant("prodkit (AdaptiveThrottle)", adaptive_throttle),
            Contestant("prodkit (LoadShedder)", load_shedder),
        ],
    ),
    Row(
        "fallback, deadline, limiter, retry, breaker, bulkhead, timeout",
        [
            Contestant("prodkit", lambda: through(*whole().members)),
            Contestant("prodkit, decorated", lambda: around(whole()(safe=True)(leaf))),
            Contestant("interlock-cb (no deadline, no limiter)", lambda: around(interlock_whole())),
            Contestant("nopanic", lambda: around(nopanic_whole())),
        ],
        loops=BOTH,
    ),
]
