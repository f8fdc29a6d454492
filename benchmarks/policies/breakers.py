"""Circuit breakers: closed by count and by rate, open, and one for each key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import Any

from benchmarks.policies import floors
from benchmarks.policies.measure import (
    Contestant,
    Once,
    Pair,
    Row,
    around,
    guarded,
    leaf,
    refused,
    refused_through,
    through,
)

from prodkit import Call, Pipeline

#: Calls some work given to it, or the leaf.
Guarded = Callable[..., Awaitable[Any]]
FAILURES = 5
LONG = 3600


async def broken() -> None:
    raise ConnectionError("down")


def ours(**options: Any) -> Any:
    from prodkit.policies.circuit_breaker import CircuitBreaker

    return CircuitBreaker("dependency", break_duration=LONG, **options)


def by_count() -> Any:
    return ours(consecutive_failures=FAILURES)


def keyed() -> Pair:
    from prodkit.policies.circuit_breaker import KeyedCircuitBreaker, by_operation

    return through(KeyedCircuitBreaker("dependency", key=by_operation))


def shared() -> Pair:
    from prodkit.policies.circuit_breaker import SharedCircuitBreaker
    from prodkit.stores.memory import MemoryBreakerStore

    return through(SharedCircuitBreaker("dependency", MemoryBreakerStore()))


async def opened(call: Guarded, *errors: type[BaseException]) -> Pair:
    """Let the work fail until the breaker refuses it."""
    for _ in range(FAILURES):
        with suppress(Exception):
            await call(broken)
    return refused(call, *errors)


async def ours_open() -> Pair:
    from prodkit.errors import CircuitOpenError

    breaker = by_count()
    handler = Pipeline(breaker).bind(lambda call: call.payload())
    await opened(lambda work=leaf: handler(Call("operation", payload=work)), CircuitOpenError)
    return refused_through(breaker, error=CircuitOpenError)


def pybreaker() -> Once:
    from pybreaker import CircuitBreaker

    breaker = CircuitBreaker(fail_max=FAILURES, reset_timeout=LONG, name="dependency")

    async def call(work: Once = leaf) -> Any:
        with breaker.calling():
            return await work()

    return call


def aiobreaker() -> Once:
    from aiobreaker import CircuitBreaker

    breaker = CircuitBreaker(fail_max=FAILURES, timeout_duration=timedelta(seconds=LONG))

    return breaker(guarded)


def purgatory() -> Once:
    from purgatory import AsyncCircuitBreakerFactory

    factory = AsyncCircuitBreakerFactory(default_threshold=FAILURES, default_ttl=LONG)

    return factory("dependency")(guarded)


def circuitbreaker() -> Once:
    from circuitbreaker import circuit

    return circuit(failure_threshold=FAILURES, recovery_timeout=LONG)(guarded)


def hyx() -> Once:
    from hyx.circuitbreaker import consecutive_breaker

    breaker = consecutive_breaker(failure_threshold=FAILURES, recovery_time_secs=LONG)
    return breaker(guarded)


def interlock() -> Once:
    from interlock import CircuitBreaker, Config, WindowType

    config = Config(
        minimum_number_of_calls=FAILURES,
        wait_duration_in_open=LONG,
        window_type=WindowType.TIME_BASED,
        window_size=30,
    )

    return CircuitBreaker(name="dependency", config=config)(guarded)


def nopanic() -> Once:
    from nopanic import circuit_breaker

    return circuit_breaker(min_calls=FAILURES, reset_timeout=LONG)(guarded)


def nopanic_keyed() -> Once:
    from nopanic import circuit_breaker, keyed

    @keyed(lambda _key: circuit_breaker(reset_timeout=LONG), key=lambda key: key)
    async def call(key: str) -> Any:
        return await leaf()

    return partial(call, "key")


def cashews() -> Once:
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://")

    return cache.circuit_breaker(
        errors_rate=50, period=30, ttl=LONG, min_calls=FAILURES, key="key"
    )(guarded)


def _open_error(name: str) -> type[BaseException]:
    module, _, attribute = OPEN_ERRORS[name].rpartition(".")
    found: type[BaseException] = getattr(import_module(module), attribute)
    return found


async def peer_open(name: str, make: Callable[[], Guarded]) -> Pair:
    return await opened(make(), _open_error(name))


#: What each raises when it is open.
OPEN_ERRORS = {
    "pybreaker": "pybreaker.CircuitBreakerError",
    "aiobreaker": "aiobreaker.CircuitBreakerError",
    "purgatory": "purgatory.domain.model.OpenedState",
    "circuitbreaker": "circuitbreaker.CircuitBreakerError",
    "hyx": "hyx.circuitbreaker.exceptions.BreakerFailing",
    "interlock-cb": "interlock.CircuitOpenError",
    "nopanic": "nopanic.CircuitOpen",
    "cashews": "cashews.CircuitBreakerOpen",
}
COUNTING: dict[str, Callable[[], Guarded]] = {
    "pybreaker": pybreaker,
    "aiobreaker": aiobreaker,
    "purgatory": purgatory,
    "circuitbreaker": circuitbreaker,
    "hyx": hyx,
}
RATING: dict[str, Callable[[], Guarded]] = {
    "interlock-cb": interlock,
    "nopanic": nopanic,
    "cashews": cashews,
}


def _peers(makes: dict[str, Callable[[], Guarded]]) -> list[Contestant]:
    return [
        Contestant(name, lambda make=make: around(make(), guarded)) for name, make in makes.items()
    ]


ROWS = [
    Row(
        "breaker closed, failures in a row",
        [
            Contestant("floor", lambda: around(floors.breaker_count())),
            Contestant("prodkit", lambda: through(by_count())),
            Contestant("prodkit, decorated", lambda: around(Pipeline(by_count())(leaf))),
            *_peers(COUNTING),
        ],
        budget=0.8,
    ),
    Row(
        "breaker closed, failure ratio over time",
        [
            Contestant("floor", lambda: around(floors.breaker_rate())),
            Contestant("prodkit", lambda: through(ours())),
            Contestant("prodkit, decorated", lambda: around(Pipeline(ours())(leaf))),
            Contestant("prodkit (shared)", shared),
            *_peers(RATING),
        ],
        budget=1.2,
    ),
    Row(
        "breaker open",
        [
            Contestant("floor", lambda: refused(floors.breaker_open(), RuntimeError)),
            Contestant("prodkit", ours_open),
            *(
                Contestant(name, partial(peer_open, name, make))
                for name, make in (COUNTING | RATING).items()
            ),
        ],
        budget=0.8,
        over="raising and catching",
    ),
    Row(
        "a breaker for each key, closed",
        [
            Contestant("floor", lambda: around(floors.breaker_rate())),
            Contestant("prodkit", keyed),
            Contestant("nopanic", lambda: around(nopanic_keyed(), guarded)),
            Contestant("purgatory", lambda: around(purgatory(), guarded)),
        ],
    ),
]
