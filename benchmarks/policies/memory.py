"""What a million limiter keys and ten thousand breakers hold, each contestant in its own process.

    python -m benchmarks.policies.memory limiters|breakers NAME COUNT

prints the growth of the resident set in bytes; the rest of the package runs that.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from benchmarks.policies.measure import leaf, leaf_of

#: Seconds that a contestant gets.
PATIENCE = 60
#: Uses the key of a number once.
Use = Callable[[int], Awaitable[Any]]


def limiter_floor() -> Use:
    arrivals: dict[str, float] = {}

    async def use(number: int) -> None:
        arrivals[f"key:{number}"] = 1000.0 + number

    return use


def prodkit_limiter(kind: str) -> Use:
    from prodkit import Call, Pipeline
    from prodkit.policies import rate_limiter as limiters

    store = limiters.MemoryRateLimitStore(max_keys=2_000_000)
    rate = getattr(limiters, kind)(100, per=3600.0)
    limiter = limiters.RateLimiter(rate, key=lambda call: call.operation, store=store)
    handler = Pipeline(limiter).bind(leaf_of)
    return lambda number: handler(Call(f"key:{number}"))


def limits(strategy: str) -> Use:
    from limits import RateLimitItemPerHour
    from limits.aio import strategies
    from limits.aio.storage import MemoryStorage

    limiter = getattr(strategies, strategy)(MemoryStorage())
    item = RateLimitItemPerHour(100)
    return lambda number: limiter.hit(item, f"key:{number}")


def throttled() -> Use:
    from throttled.asyncio import MemoryStore, Throttled

    store = MemoryStore(options={"MAX_SIZE": 2_000_000})
    limiter = Throttled(using="gcra", quota="100/h burst 100", store=store)
    return lambda number: limiter.limit(f"key:{number}")


def nopanic_limiter() -> Use:
    from nopanic import keyed, rate_limit

    def limiter(_key: str) -> Any:
        return rate_limit(100, per=3600.0, max_wait=0)

    @keyed(limiter, key=lambda key: key, maxsize=2_000_000)
    async def use(_key: str) -> None:
        await leaf()

    return lambda number: use(f"key:{number}")


def prodkit_breakers() -> Use:
    from prodkit import Call, Pipeline
    from prodkit.policies.circuit_breaker import KeyedCircuitBreaker, by_operation

    breaker = KeyedCircuitBreaker("dependency", key=by_operation, max_keys=20_000)
    handler = Pipeline(breaker).bind(leaf_of)
    return lambda number: handler(Call(f"key:{number}"))


def nopanic_breakers() -> Use:
    from nopanic import circuit_breaker, keyed

    @keyed(lambda _key: circuit_breaker(), key=lambda key: key, maxsize=20_000)
    async def use(_key: str) -> None:
        await leaf()

    return lambda number: use(f"key:{number}")


def interlock_breakers() -> Use:
    from interlock import Config, Registry, WindowType

    registry = Registry(config=Config(window_type=WindowType.TIME_BASED, window_size=30))
    return lambda number: registry.get(f"key:{number}").call_async(leaf)


def purgatory_breakers() -> Use:
    from purgatory import AsyncCircuitBreakerFactory

    factory = AsyncCircuitBreakerFactory()

    async def use(number: int) -> None:
        async with await factory.get_breaker(f"key:{number}"):
            await leaf()

    return use


def pybreaker_breakers() -> Use:
    from pybreaker import CircuitBreaker

    kept: dict[str, CircuitBreaker] = {}

    async def use(number: int) -> None:
        breaker = kept[f"key:{number}"] = CircuitBreaker(name=f"key:{number}")
        with breaker.calling():
            await leaf()

    return use


def aiobreaker_breakers() -> Use:
    from aiobreaker import CircuitBreaker

    kept: dict[str, CircuitBreaker] = {}

    def use(number: int) -> Awaitable[Any]:
        breaker = kept[f"key:{number}"] = CircuitBreaker(name=f"key:{number}")
        return breaker.call_async(leaf)

    return use


def circuitbreaker_breakers() -> Use:
    from circuitbreaker import CircuitBreaker

    kept: dict[str, CircuitBreaker] = {}

    def use(number: int) -> Awaitable[Any]:
        breaker = kept[f"key:{number}"] = CircuitBreaker(name=f"key:{number}")
        return breaker.call_async(leaf)

    return use


def hyx_breakers() -> Use:
    from hyx.circuitbreaker import consecutive_breaker

    kept: dict[str, Any] = {}

    async def use(number: int) -> None:
        breaker = kept[f"key:{number}"] = consecutive_breaker()
        async with breaker:
            await leaf()

    return use


LIMITERS: dict[str, Callable[[], Use]] = {
    "a dict of floats": limiter_floor,
    "prodkit (Rate)": lambda: prodkit_limiter("Rate"),
    "prodkit (SlidingLog)": lambda: prodkit_limiter("SlidingLog"),
    "limits (fixed window)": lambda: limits("FixedWindowRateLimiter"),
    "limits (moving window)": lambda: limits("MovingWindowRateLimiter"),
    "throttled-py (GCRA)": throttled,
    "nopanic (keyed)": nopanic_limiter,
}
BREAKERS: dict[str, Callable[[], Use]] = {
    "prodkit (keyed)": prodkit_breakers,
    "nopanic (keyed)": nopanic_breakers,
    "interlock-cb (registry)": interlock_breakers,
    "purgatory (factory)": purgatory_breakers,
    "pybreaker (objects)": pybreaker_breakers,
    "aiobreaker (objects)": aiobreaker_breakers,
    "circuitbreaker (objects)": circuitbreaker_breakers,
    "hyx (objects)": hyx_breakers,
}


TABLES = {"limiters": LIMITERS, "breakers": BREAKERS}


@dataclass(frozen=True)
class Weight:
    """Bytes a key and microseconds a key, or why there are none."""

    name: str
    bytes_each: float | None = None
    us_each: float | None = None
    why: str = ""


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def grow(use: Use, count: int) -> tuple[int, float]:
    await use(-1)  # what is imported or made at first is no key's
    gc.collect()
    before, began = resident(), perf_counter()
    for number in range(count):
        await use(number)
    taken = perf_counter() - began
    gc.collect()
    return resident() - before, taken


def weigh(table: str, name: str, count: int) -> Weight:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.policies.memory", table, name, str(count)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return Weight(name, why=f"not done after {PATIENCE} s")
    if "ModuleNotFoundError" in done.stderr or "ImportError" in done.stderr:
        return Weight(name, why="not installed")
    if done.returncode:
        return Weight(name, why=done.stderr.strip().rpartition("\n")[2])
    grown, taken = done.stdout.split()
    return Weight(name, float(grown) / count, 1e6 * float(taken) / count)


def main() -> None:
    table, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

    async def run() -> None:
        grown, taken = await grow(TABLES[table][name](), count)
        print(grown, taken, flush=True)
        os._exit(0)  # taking a million keys down is not the point

    asyncio.run(run())


if __name__ == "__main__":
    main()
