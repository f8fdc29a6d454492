"""What caches go through: a crowd at an empty one, loaders that fail, callers that leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from benchmarks.behaviour.cache_peers import SUBJECTS, Caching
from benchmarks.behaviour.scenario import Found, Scenario, turns
from benchmarks.behaviour.world import World

Make = Callable[[World], Caching | None]
CROWD = 1000
#: Some libraries ask again at every turn of the loop, so a load is short.
TAKES = 20e-6


class Source:
    """Where the cache loads from; counts the loads."""

    def __init__(self) -> None:
        self.loads = 0
        self.down = False

    async def __call__(self) -> str:
        self.loads += 1
        await asyncio.sleep(TAKES)
        if self.down:
            raise ConnectionError("down")
        return "value"


def behind(make: Make, world: World) -> tuple[Callable[[int], Any], Source]:
    source = Source()

    async def load(key: int) -> str:
        return await source()

    caching = make(world)
    assert caching is not None
    return caching(load), source


async def crowd_at_cold(world: World, make: Make) -> Found:
    get, source = behind(make, world)
    await asyncio.gather(*(asyncio.create_task(get(1)) for _ in range(CROWD)))
    return Found(f"{source.loads:,}", source.loads == 1)


async def crowd_at_failing(world: World, make: Make) -> Found:
    get, source = behind(make, world)
    source.down = True
    crowd = [asyncio.create_task(get(1)) for _ in range(CROWD)]
    await asyncio.gather(*crowd, return_exceptions=True)
    loads, source.down = source.loads, False
    kept = await asyncio.gather(get(1), return_exceptions=True) != ["value"]
    return Found(f"{loads:,}" + (", error kept" if kept else ""), loads == 1 and not kept)


async def leader_leaves(world: World, make: Make) -> Found:
    get, source = behind(make, world)
    crowd = [asyncio.create_task(get(1)) for _ in range(CROWD)]
    while not source.loads:
        await turns(1)
    crowd[0].cancel()
    answers = await asyncio.gather(*crowd, return_exceptions=True)
    served = sum(answer == "value" for answer in answers[1:])
    ok = served == CROWD - 1 and source.loads <= 2
    return Found(f"{served:,} served, loads: {source.loads:,}", ok)


SCENARIOS: list[Scenario[Caching]] = [
    Scenario(
        "A crowd in front of a cold cache",
        "1,000 callers of one key: 1 load",
        "A deploy empties the cache, or the one key of the start page expires at noon. A thousand "
        "requests find nothing and ask the database all at once for the same row.",
        SUBJECTS,
        crowd_at_cold,
    ),
    Scenario(
        "A crowd in front of a cold cache whose source fails",
        "1,000 callers: 1 load; the error is theirs and is not kept",
        "Now the source is down as well. If those who waited behind the lock go on to try one "
        "after the other, the crowd that was to be held back arrives all the same, in single file, "
        "each waiting for the time-out of all before it. If the error is kept, the outage lasts "
        "as long as the ttl.",
        SUBJECTS,
        crowd_at_failing,
    ),
    Scenario(
        "The first of the crowd leaves",
        "the other 999 get the value, with 2 loads at most",
        "The caller that happens to do the load is a user like any other, and hangs up. If the "
        "load is theirs, it dies with them: 999 others get a CancelledError that nobody sent, or "
        "all start over at once.",
        SUBJECTS,
        leader_leaves,
    ),
]
