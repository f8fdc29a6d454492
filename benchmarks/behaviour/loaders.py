"""What batching loaders go through: one caller of a batch leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.behaviour.scenario import Found, Scenario, Subject, turns
from benchmarks.behaviour.world import World

#: Loads many keys at once, in their order.
Batch = Callable[[Sequence[int]], Awaitable[Sequence[Any]]]
#: Puts a loader in front of it, which loads one key at a time.
Loading = Callable[[Batch], Callable[[int], Awaitable[Any]]]
Make = Callable[[World], Loading | None]
CROWD = 100


def prodkit(world: World) -> Loading:
    from prodkit.data.loader import Loader

    def loading(batch: Batch) -> Callable[[int], Awaitable[Any]]:
        return Loader(batch).load

    return loading


def aiodataloader(_world: World) -> Loading:
    from aiodataloader import DataLoader

    def loading(batch: Batch) -> Callable[[int], Awaitable[Any]]:
        async def load(keys: list[int]) -> list[Any]:
            return list(await batch(keys))

        return DataLoader(load).load

    return loading


async def waiter_leaves(world: World, make: Make) -> Found:
    batches: list[int] = []

    async def batch(keys: Sequence[int]) -> list[int]:
        batches.append(len(keys))
        await asyncio.sleep(1)
        return [2 * key for key in keys]

    loading = make(world)
    assert loading is not None
    load = loading(batch)

    async def caller(key: int) -> Any:
        return await load(key)

    crowd = [asyncio.create_task(caller(7)) for _ in range(CROWD)]
    await turns()
    crowd[0].cancel()
    answers = await asyncio.gather(*crowd, return_exceptions=True)
    served = sum(answer == 14 for answer in answers[1:])
    again = await asyncio.gather(asyncio.create_task(caller(7)), return_exceptions=True)
    lost = "" if again == [14] else ", and nobody after them"
    return Found(f"{served}{lost}", served == CROWD - 1 and not lost)


SUBJECTS: list[Subject[Loading]] = [
    Subject("prodkit", prodkit),
    Subject("aiodataloader", aiodataloader),
]

SCENARIOS: list[Scenario[Loading]] = [
    Scenario(
        "One of a batch leaves",
        "of 100 that wait for one key the other 99 get it, and so does the next",
        "A page resolves the same author a hundred times, and the loader asks once: one future, a "
        "hundred awaiting it. One request is cancelled, and cancelling a task cancels the "
        "future it awaits. All the others get a CancelledError out of nowhere, which servers do "
        "not even log; and the cancelled future stays in the loader's cache. (A loader for each "
        "request keeps that within the request, whose own tasks share it all the same.)",
        SUBJECTS,
        waiter_leaves,
    ),
]
