"""What breakers go through that several processes have together; four in one process here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from benchmarks.behaviour.breaker_peers import BREAK, FAILURES, Breaker, Work
from benchmarks.behaviour.breaker_plays import (
    CROWD,
    Dependency,
    attempt,
    leave,
    let_through,
    trip,
)
from benchmarks.behaviour.scenario import Found, Scenario, Subject, turns
from benchmarks.behaviour.world import World

PROCESSES = 4
Fleet = Sequence[Breaker]
Make = Callable[[World], Fleet | None]


def prodkit(world: World) -> Fleet:
    from prodkit import Call
    from prodkit.policies.circuit_breaker import SharedCircuitBreaker
    from prodkit.stores.memory import MemoryBreakerStore

    store = MemoryBreakerStore()

    def process() -> Breaker:
        breaker = SharedCircuitBreaker(
            "dependency",
            store,
            consecutive_failures=FAILURES,
            break_duration=BREAK,
            clock=world,
        )
        return lambda work: breaker(Call("dependency"), lambda _call: work())

    return [process() for _ in range(PROCESSES)]


def pybreaker(_world: World) -> Fleet:
    from pybreaker import STATE_CLOSED, CircuitBreaker, CircuitMemoryStorage

    storage = CircuitMemoryStorage(STATE_CLOSED)

    def process() -> Breaker:
        breaker = CircuitBreaker(fail_max=FAILURES, reset_timeout=BREAK, state_storage=storage)

        async def run(work: Work) -> Any:
            with breaker.calling():
                return await work()

        return run

    return [process() for _ in range(PROCESSES)]


def aiobreaker(_world: World) -> Fleet:
    from aiobreaker import CircuitBreaker
    from aiobreaker.state import CircuitBreakerState
    from aiobreaker.storage.memory import CircuitMemoryStorage

    storage = CircuitMemoryStorage(CircuitBreakerState.CLOSED)
    length = timedelta(seconds=BREAK)
    return [
        CircuitBreaker(FAILURES, timeout_duration=length, state_storage=storage).call_async
        for _ in range(PROCESSES)
    ]


def purgatory(_world: World) -> Fleet:
    from purgatory import AsyncCircuitBreakerFactory, AsyncInMemoryUnitOfWork

    together = AsyncInMemoryUnitOfWork()

    def process() -> Breaker:
        factory = AsyncCircuitBreakerFactory(FAILURES, BREAK, uow=together)

        async def run(work: Work) -> Any:
            async with await factory.get_breaker("dependency"):
                return await work()

        return run

    return [process() for _ in range(PROCESSES)]


async def crowd_at_recovery(world: World, make: Make) -> Found:
    fleet, dependency = make(world), Dependency()
    assert fleet is not None
    await trip(fleet[0], dependency)
    dependency.down = True
    await asyncio.sleep(2.0)
    followed = PROCESSES - sum([await let_through(one, dependency, 1) for one in fleet])
    await asyncio.sleep(BREAK)
    dependency.reached, dependency.takes, dependency.down = 0, 1.0, False
    crowd = [
        asyncio.create_task(attempt(fleet[number % PROCESSES], dependency))
        for number in range(CROWD)
    ]
    await turns(100)
    reached = dependency.reached
    await leave(crowd)
    ok = reached == 1 and followed == PROCESSES
    return Found(f"{reached:,}", ok)


SUBJECTS: list[Subject[Fleet]] = [
    Subject("prodkit (shared)", prodkit),
    Subject("pybreaker", pybreaker),
    Subject("aiobreaker", aiobreaker),
    Subject("purgatory", purgatory),
]

SCENARIOS: list[Scenario[Fleet]] = [
    Scenario(
        "A crowd at half-open of a whole fleet",
        "4 processes with one circuit, 1,000 callers: 1 reaches the dependency",
        "Forty processes with a breaker each send forty probes, all in the same second, since they "
        "all tripped in the same second. A circuit that the fleet has together should open "
        "everywhere when it opens somewhere, and send one probe from all of them. To share the "
        "state is not enough for that: the permits have to be shared. (Four breakers over one "
        "store in memory; libraries whose shared state needs a server are left out.)",
        SUBJECTS,
        crowd_at_recovery,
    ),
]
