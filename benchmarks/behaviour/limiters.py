"""What limiters go through: bursts where their windows meet, and a clock that is set back."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from benchmarks.behaviour.limiter_peers import LIMIT, SUBJECTS, Limiter
from benchmarks.behaviour.scenario import Found, Scenario
from benchmarks.behaviour.world import World

Make = Callable[[World], Limiter | None]
#: Seconds into its second at which an attack begins.
PHASES = (0.0, 0.25, 0.5, 0.75, 0.99)
STEP = 0.01
#: What a call takes; two of them never have the same stamp.
CALL = 1e-5
HOUR = 3600


async def flood(world: World, admit: Limiter, seconds: float, first: int = 0) -> list[float]:
    """Call thirty times every ten milliseconds, `first` times at first; return who got in when."""
    admitted: list[float] = []

    async def call() -> None:
        world.pass_time(CALL)
        with suppress(Exception):
            if await admit():
                admitted.append(world.monotonic())

    calls: list[asyncio.Task[Any]] = [asyncio.create_task(call()) for _ in range(first)]
    for _ in range(round(seconds / STEP)):
        await asyncio.sleep(STEP)
        calls += [asyncio.create_task(call()) for _ in range(30)]
    await asyncio.sleep(STEP)
    for waiting in calls:
        waiting.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    return sorted(admitted)


def worst_second(admitted: list[float]) -> int:
    """Return the most admissions in any second, its end left out."""
    return max(bisect_left(admitted, t + 1 - 1e-6) - i for i, t in enumerate(admitted))


async def boundary_burst(world: World, make: Make) -> Found:
    worst = 0
    for phase in PHASES:
        for scouts in (0, 1):  # a window may begin with the second, or with its first call
            admit = make(world)
            assert admit is not None
            await asyncio.sleep(5 - world.wall() % 1 + phase - 0.97 * scouts)
            admitted = await flood(world, admit, 0, first=scouts)
            await asyncio.sleep(0.96 * scouts)
            admitted += await flood(world, admit, 1.5, first=300)
            worst = max(worst, worst_second(admitted))
    return Found(f"{worst}", worst <= LIMIT)


async def clock_set_back(world: World, make: Make) -> Found:
    admit = make(world)
    assert admit is not None
    await flood(world, admit, 3.5)  # into the middle of a window
    world.set_wall(-HOUR)
    admitted = len(await flood(world, admit, 5))
    return Found(f"{admitted}", 3 * LIMIT <= admitted <= 7 * LIMIT)


SCENARIOS: list[Scenario[Limiter]] = [
    Scenario(
        "A burst where two windows meet",
        "at 100 calls a second, at most 100 in any second",
        "The partner's contract says 100 a second, and above that they block the key for an hour. "
        "A cron job of ours fires at the end of a second and again at the beginning of the next. "
        "A limiter with fixed windows counts each half as lawful and lets 200 through within "
        "some milliseconds. A token bucket of 100 does so too, by design: it promises burst + "
        "rate x time. Both are fine for fairness and wrong for a contract; what promises a window "
        "has to keep it. (Attacks begin at several points of a second; the worst second counts.)",
        SUBJECTS,
        boundary_burst,
    ),
    Scenario(
        "A limiter when the clock is set back an hour",
        "in the five seconds after it 300 to 700 calls get in (the rate is 100/s)",
        "NTP corrects a clock. A limiter that stamps with wall time now holds stamps from the "
        "future: some lock every customer out for an hour, some let nobody be limited at all.",
        SUBJECTS,
        clock_set_back,
    ),
]
