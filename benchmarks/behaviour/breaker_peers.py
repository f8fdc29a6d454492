"""Circuit breakers as their documentation uses them: five failures open one for ten seconds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from benchmarks.behaviour.scenario import Subject
from benchmarks.behaviour.world import World

BREAK = 10.0
FAILURES = 5

Work = Callable[[], Awaitable[Any]]
#: Runs some work behind the breaker; what it refuses does not run.
Breaker = Callable[[Work], Awaitable[Any]]


def prodkit(world: World, probes: int = 1) -> Breaker:
    from prodkit import Call
    from prodkit.policies.circuit_breaker import CircuitBreaker

    breaker = CircuitBreaker(
        "dependency",
        consecutive_failures=FAILURES,
        break_duration=BREAK,
        half_open_probes=probes,
        clock=world,
    )
    return lambda work: breaker(Call("dependency"), lambda _call: work())


def prodkit_ratio(world: World, probes: int = 1) -> Breaker:
    from prodkit import Call
    from prodkit.policies.circuit_breaker import CircuitBreaker

    breaker = CircuitBreaker(
        "dependency",
        minimum_throughput=FAILURES,
        break_duration=BREAK,
        half_open_probes=probes,
        clock=world,
    )
    return lambda work: breaker(Call("dependency"), lambda _call: work())


def prodkit_shared(world: World, probes: int = 1) -> Breaker:
    from prodkit import Call
    from prodkit.policies.circuit_breaker import SharedCircuitBreaker
    from prodkit.stores.memory import MemoryBreakerStore

    breaker = SharedCircuitBreaker(
        "dependency",
        MemoryBreakerStore(),
        consecutive_failures=FAILURES,
        break_duration=BREAK,
        half_open_probes=probes,
        clock=world,
    )
    return lambda work: breaker(Call("dependency"), lambda _call: work())


def pybreaker(_world: World, probes: int = 1) -> Breaker | None:
    from pybreaker import CircuitBreaker

    breaker = CircuitBreaker(
        fail_max=FAILURES, reset_timeout=BREAK, success_threshold=probes, name="dependency"
    )

    async def run(work: Work) -> Any:
        with breaker.calling():  # its own async form is Tornado's
            return await work()

    return run if probes == 1 else None


def aiobreaker(_world: World, probes: int = 1) -> Breaker | None:
    from aiobreaker import CircuitBreaker

    breaker = CircuitBreaker(fail_max=FAILURES, timeout_duration=timedelta(seconds=BREAK))
    return breaker.call_async if probes == 1 else None


def purgatory(_world: World, probes: int = 1) -> Breaker | None:
    from purgatory import AsyncCircuitBreakerFactory

    factory = AsyncCircuitBreakerFactory(default_threshold=FAILURES, default_ttl=BREAK)

    async def run(work: Work) -> Any:
        async with await factory.get_breaker("dependency"):
            return await work()

    return run if probes == 1 else None


def circuitbreaker(_world: World, probes: int = 1) -> Breaker | None:
    from circuitbreaker import CircuitBreaker

    breaker = CircuitBreaker(failure_threshold=FAILURES, recovery_timeout=int(BREAK), name="d")

    @breaker
    async def run(work: Work) -> Any:
        return await work()

    return run if probes == 1 else None


def hyx(_world: World, probes: int = 1) -> Breaker | None:
    from hyx.circuitbreaker import consecutive_breaker

    breaker = consecutive_breaker(
        failure_threshold=FAILURES, recovery_time_secs=BREAK, recovery_threshold=probes
    )

    @breaker
    async def run(work: Work) -> Any:
        return await work()

    return run if probes == 1 else None


def interlock(_world: World, probes: int = 1) -> Breaker:
    from interlock import CircuitBreaker, Config, WindowType

    config = Config(
        minimum_number_of_calls=FAILURES,
        wait_duration_in_open=BREAK,
        permitted_calls_in_half_open=probes,
        max_concurrent_probes=probes,
        window_type=WindowType.TIME_BASED,
        window_size=30,
    )
    return CircuitBreaker(name="dependency", config=config).call_async


def nopanic(world: World, probes: int = 1) -> Breaker:
    from nopanic import circuit_breaker

    breaker = circuit_breaker(
        min_calls=FAILURES,
        reset_timeout=BREAK,
        half_open_max_calls=probes,
        clock=world.monotonic,
    )

    @breaker
    async def run(work: Work) -> Any:
        return await work()

    return run


def cashews(_world: World, probes: int = 1) -> Breaker | None:
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://")

    @cache.circuit_breaker(
        errors_rate=50,
        period=30,
        ttl=BREAK,
        half_open_ttl=2 * BREAK,  # it begins with the break
        min_calls=FAILURES,
        key="d",
    )
    async def run(work: Work) -> Any:
        return await work()

    return run if probes == 1 else None


PRODKIT: list[Subject[Breaker]] = [
    Subject("prodkit", prodkit),
    Subject("prodkit (ratio)", prodkit_ratio),
    Subject("prodkit (shared)", prodkit_shared),
]
PEERS: list[Subject[Breaker]] = [
    Subject("pybreaker", pybreaker),
    Subject("aiobreaker", aiobreaker),
    Subject("purgatory", purgatory),
    Subject("circuitbreaker", circuitbreaker),
    Subject("hyx", hyx),
    Subject("interlock-cb", interlock),
    Subject("nopanic", nopanic),
    Subject("cashews", cashews),
]
SUBJECTS = PRODKIT + PEERS
