"""What bulkheads go through: those who wait give up just as their turn comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.behaviour.scenario import Found, Scenario, Subject, turns
from benchmarks.behaviour.world import World

PLACES = 10
WAITING = 100

Work = Callable[[], Awaitable[Any]]
#: Runs some work once it has a place.
Bulkhead = Callable[[Work], Awaitable[Any]]
Make = Callable[[World], Bulkhead | None]


def prodkit(world: World) -> Bulkhead:
    from prodkit import Call
    from prodkit.policies.bulkhead import Bulkhead

    bulkhead = Bulkhead("dependency", limit=PLACES, queue=WAITING, max_wait=60.0, clock=world)
    return lambda work: bulkhead(Call("dependency"), lambda _call: work())


def hyx(_world: World) -> Bulkhead:
    from hyx.bulkhead import bulkhead

    @bulkhead(max_concurrency=PLACES, max_capacity=PLACES + WAITING)
    async def run(work: Work) -> Any:
        return await work()

    return run


def hyx_block(_world: World) -> Bulkhead:
    from hyx.bulkhead import bulkhead

    places = bulkhead(max_concurrency=PLACES, max_capacity=PLACES + WAITING)

    async def run(work: Work) -> Any:
        async with places:
            return await work()

    return run


def interlock(_world: World) -> Bulkhead:
    from interlock import Pipeline

    @Pipeline.builder().bulkhead(PLACES, max_wait=60.0).build()
    async def run(work: Work) -> Any:
        return await work()

    return run


def nopanic(_world: World) -> Bulkhead:
    from nopanic import bulkhead

    @bulkhead(PLACES, max_wait=60.0)
    async def run(work: Work) -> Any:
        return await work()

    return run


async def waiters_leave(world: World, make: Make) -> Found:
    bulkhead = make(world)
    assert bulkhead is not None
    running = 0
    door = asyncio.Event()

    async def work() -> None:
        nonlocal running
        running += 1
        try:
            await door.wait()
        finally:
            running -= 1

    crowd = [asyncio.create_task(_through(bulkhead, work)) for _ in range(PLACES + WAITING)]
    await turns()
    door.set()
    for turn in range(WAITING):  # they leave one by one while places are handed on
        crowd[PLACES + turn].cancel()
        await turns(turn % 3)
    await asyncio.gather(*crowd, return_exceptions=True)
    door.clear()
    crowd = [asyncio.create_task(_through(bulkhead, work)) for _ in range(PLACES + WAITING)]
    await turns()
    at_once = running
    door.set()
    answers = await asyncio.gather(*crowd, return_exceptions=True)
    served = sum(answer is None for answer in answers)
    ok = at_once == PLACES and served == PLACES + WAITING
    return Found(f"{at_once} at once, {served} served", ok)


async def _through(bulkhead: Bulkhead, work: Work) -> Any:
    return await bulkhead(work)


SUBJECTS: list[Subject[Bulkhead]] = [
    Subject("prodkit", prodkit),
    Subject("hyx", hyx),
    Subject("hyx (async with)", hyx_block),
    Subject("interlock-cb", interlock),
    Subject("nopanic", nopanic),
]

SCENARIOS: list[Scenario[Bulkhead]] = [
    Scenario(
        "A queue that gives up",
        "after 100 that waited were cancelled, 110 more come: 10 run at once, and all are served",
        "The dependency hangs, the queue in front of it fills, and everybody in it runs into a "
        "time-out, some in the very turn in which a place is handed to them. A place that goes to "
        "somebody who has just left is lost. The bulkhead gets a little narrower with each "
        "incident, until the day when it lets nobody through and a restart helps.",
        SUBJECTS,
        waiters_leave,
    ),
]
