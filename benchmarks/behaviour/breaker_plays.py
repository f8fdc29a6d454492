"""What breakers go through, as code: see breakers.py for what it means."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from benchmarks.behaviour.breaker_peers import BREAK, FAILURES, Breaker
from benchmarks.behaviour.scenario import NOT_CLAIMED, Found, turns
from benchmarks.behaviour.world import World

Make = Callable[..., Breaker | None]
CROWD = 1000
HOUR = 3600.0


class Dependency:
    """What the breaker guards: counts who reaches it."""

    def __init__(self) -> None:
        self.reached = 0
        self.down = False
        self.takes = 0.0

    async def __call__(self) -> str:
        self.reached += 1
        down = self.down
        await asyncio.sleep(self.takes)
        if down:
            raise ConnectionError("the dependency is down")
        return "fine"


async def attempt(breaker: Breaker, dependency: Dependency) -> bool:
    """Make one call, whatever comes of it; say whether it was let through."""
    before = dependency.reached
    with suppress(Exception):
        await breaker(dependency)
    return dependency.reached > before


async def let_through(breaker: Breaker, dependency: Dependency, calls: int) -> int:
    """Make `calls` calls, a millisecond apart; return how many reach the dependency."""
    before = dependency.reached
    for _ in range(calls):
        await asyncio.sleep(0.001)
        await attempt(breaker, dependency)
    return dependency.reached - before


async def trip(breaker: Breaker, dependency: Dependency) -> None:
    """Let the dependency fail until the breaker refuses; it is well again afterwards."""
    was, dependency.takes, dependency.down = dependency.takes, 0.0, True
    for _ in range(2 * FAILURES):
        if not await let_through(breaker, dependency, 1):
            break
    else:
        raise RuntimeError("the breaker does not open")
    dependency.takes, dependency.down = was, False


async def leave(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Let everybody in `tasks` give up, and wait until they are gone."""
    going = list(tasks)
    for task in going:
        task.cancel()
    await asyncio.gather(*going, return_exceptions=True)


async def crowd_at_recovery(make: Make, world: World, probes: int) -> Found:
    breaker, dependency = make(world, probes), Dependency()
    if breaker is None:
        return NOT_CLAIMED
    await trip(breaker, dependency)
    await asyncio.sleep(BREAK + 0.5)
    dependency.reached, dependency.takes = 0, 1.0
    crowd = [asyncio.create_task(attempt(breaker, dependency)) for _ in range(CROWD)]
    await turns()
    reached = dependency.reached
    await leave(crowd)
    return Found(f"{reached:,}", 1 <= reached <= probes)


async def one_probe(world: World, make: Make) -> Found:
    return await crowd_at_recovery(make, world, 1)


async def five_probes(world: World, make: Make) -> Found:
    return await crowd_at_recovery(make, world, 5)


async def late_success(world: World, make: Make) -> Found:
    breaker, dependency = make(world), Dependency()
    assert breaker is not None
    dependency.takes = 3.0
    slow = asyncio.create_task(breaker(dependency))  # begun while all was well
    await turns()
    await trip(breaker, dependency)
    await slow
    dependency.down, dependency.takes = True, 0.0
    reached = await let_through(breaker, dependency, 10)
    return Found(f"{reached}", reached == 0)


async def late_success_at_half_open(world: World, make: Make) -> Found:
    breaker, dependency = make(world), Dependency()
    assert breaker is not None
    dependency.takes = BREAK + 2.0
    slow = asyncio.create_task(breaker(dependency))
    await turns()
    await trip(breaker, dependency)
    dependency.takes, dependency.down = BREAK, True
    await asyncio.sleep(BREAK + 0.5)
    for _ in range(20):
        probe = await begun(breaker, dependency)
        if not probe.done():
            break
    await slow
    dependency.takes = 0.0
    reached = await let_through(breaker, dependency, 10)
    await leave([probe])
    return Found(f"{reached}", reached <= 1)


async def late_failures(world: World, make: Make) -> Found:
    breaker, dependency = make(world), Dependency()
    assert breaker is not None
    dependency.takes, dependency.down = 4 * BREAK, True
    slow = [asyncio.create_task(attempt(breaker, dependency)) for _ in range(2 * FAILURES)]
    await turns()
    await trip(breaker, dependency)
    dependency.takes = 0.0
    await asyncio.sleep(BREAK + 0.5)
    await let_through(breaker, dependency, 20)  # cashews flips a coin for each
    await asyncio.gather(*slow)
    refused = 10 - await let_through(breaker, dependency, 10)
    return Found(f"{refused}", refused == 0)


async def cancelled_probe(world: World, make: Make) -> Found:
    breaker, dependency = make(world), Dependency()
    assert breaker is not None
    await trip(breaker, dependency)
    await asyncio.sleep(BREAK + 0.5)
    dependency.takes = 1.0
    for _ in range(20):
        probe = await begun(breaker, dependency)
        if not probe.done():
            break
    await leave([probe])
    dependency.down, dependency.takes = True, 0.0
    reached = await let_through(breaker, dependency, 10)
    if reached:
        return Found(f"{reached}", reached == 1)
    await asyncio.sleep(100 * BREAK)
    later = await let_through(breaker, dependency, 10)
    return Found("0, after another break 1" if later else "0, never again one", ok=False)


async def callers_leave(world: World, make: Make) -> Found:
    breaker, dependency = make(world), Dependency()
    assert breaker is not None
    dependency.takes = 1.0
    await leave([await begun(breaker, dependency) for _ in range(100)])
    dependency.takes = 0.0
    refused = 10 - await let_through(breaker, dependency, 10)
    return Found(f"{refused}", refused == 0)


async def begun(breaker: Breaker, dependency: Dependency) -> asyncio.Task[bool]:
    task = asyncio.create_task(attempt(breaker, dependency))
    await turns()
    return task


async def leaving_hides_failure(world: World, make: Make) -> Found:
    breaker, dependency = make(world), Dependency()
    assert breaker is not None
    failed = 0
    dependency.down = True
    for _ in range(25):
        dependency.takes = 0.0
        failed += await let_through(breaker, dependency, FAILURES - 1)
        dependency.takes = 1.0
        await leave([await begun(breaker, dependency)])
    return Found(f"{failed}", failed <= 2 * FAILURES)


async def clock_set_back(world: World, make: Make) -> Found:
    breaker, dependency = make(world), Dependency()
    assert breaker is not None
    await trip(breaker, dependency)
    world.set_wall(-HOUR)
    for waited in range(1, int(2 * HOUR)):
        await asyncio.sleep(1.0)
        if await attempt(breaker, dependency):
            return Found(f"{waited:,} s", waited <= BREAK + 1)
    return Found("never", ok=False)


async def clock_set_forward(world: World, make: Make) -> Found:
    breaker, dependency = make(world), Dependency()
    assert breaker is not None
    await trip(breaker, dependency)
    world.set_wall(HOUR)
    dependency.down = True
    reached = await let_through(breaker, dependency, 10)
    return Found(f"{reached}", reached == 0)
