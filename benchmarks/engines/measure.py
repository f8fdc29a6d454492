"""Things a second, by so many callers at once: all contestants of a row in turn, many rounds."""

from __future__ import annotations

import asyncio
import gc
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from inspect import isawaitable
from operator import truediv
from time import perf_counter, process_time
from typing import Any

from benchmarks.peers import is_peer

Once = Callable[[], Awaitable[Any]]
Tick = Callable[[], None]


@dataclass(frozen=True)
class Drain:
    """Work that comes from a queue: `fill` puts so much there, which takes no time.

    `run` takes it out, and calls what it is given for each; the time is from the first to the last.
    """

    fill: Callable[[int], Awaitable[None]]
    run: Callable[[int, Tick], Awaitable[None]]


Made = Once | Drain


@dataclass(frozen=True)
class Contestant:
    """A library, or the bare client; `make` imports it, and runs on the event loop.

    It is put over the first of its row, or over the one named by `over`.
    """

    name: str
    make: Callable[[], Made | Awaitable[Made]]
    over: str = ""


async def nothing() -> None:
    """Tidy nothing."""


@dataclass(frozen=True)
class Row:
    """One thing that all contestants do; `budget` is what prodkit wants, in times its floor.

    After each of a contestant's rounds `tidy` takes away what that left. `things` is how many a
    round of a `Drain` has.
    """

    title: str
    callers: int
    contestants: Sequence[Contestant]
    budget: float | None = None
    note: str = ""
    tidy: Callable[[], Awaitable[None]] = nothing
    things: int = 0


@dataclass
class Result:
    """Things a second, and the processor time of each in this process, in each round."""

    name: str
    over: str = ""
    rounds: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def quartiles(self) -> tuple[float, float]:
        lower, _, upper = statistics.quantiles(self.rounds, n=4)
        return lower, upper

    @property
    def cost(self) -> float:
        """Microseconds of processor time."""
        return statistics.median(self.costs)

    def times(self, floor: Result) -> tuple[float, float, float]:
        """Return how many times the floor this is: quartiles and median of the rounds' ratios."""
        ratios = list(map(truediv, self.rounds, floor.rounds))
        lower, median, upper = statistics.quantiles(ratios, n=4)
        return lower, median, upper


async def measure(row: Row, rounds: int, seconds: float) -> list[Result]:
    """Run the contestants of `row` in turn, each round in the opposite order."""
    first = row.contestants[0].name
    results = [Result(each.name, each.over or first) for each in row.contestants]
    running: list[tuple[Result, Made]] = []
    for contestant, result in zip(row.contestants, results, strict=True):
        try:
            made = contestant.make()
            ready = await made if isawaitable(made) else made
        except ModuleNotFoundError as error:
            if not is_peer(error):
                raise
            continue
        await _round(row, ready, seconds / 4)
        running.append((result, ready))
    for turn in range(rounds):
        for result, made in running if turn % 2 else reversed(running):
            gc.collect()
            rate, cost = await _round(row, made, seconds)
            result.rounds.append(rate)
            result.costs.append(cost)
    return results


async def _round(row: Row, made: Made, seconds: float) -> tuple[float, float]:
    try:
        if isinstance(made, Drain):
            return await _drained(made, row.things)
        return await _rate(made, row.callers, seconds)
    finally:
        await row.tidy()


async def _rate(once: Once, callers: int, seconds: float) -> tuple[float, float]:
    done = 0
    used, began = process_time(), perf_counter()
    end = began + seconds

    async def call() -> None:
        nonlocal done
        while True:  # once at least, however busy the machine is
            await once()
            done += 1
            if perf_counter() >= end:
                return

    await asyncio.gather(*(call() for _ in range(callers)))
    return done / (perf_counter() - began), 1e6 * (process_time() - used) / done


async def _drained(drain: Drain, things: int) -> tuple[float, float]:
    done, at, used = 0, (0.0, 0.0), (0.0, 0.0)

    def tick() -> None:
        nonlocal done, at, used
        done += 1
        if done in (1, things):
            at, used = (at[1], perf_counter()), (used[1], process_time())

    await drain.fill(things)
    await drain.run(things, tick)
    if done != things:
        raise RuntimeError(f"{done} instead of {things}")
    return (things - 1) / (at[1] - at[0]), 1e6 * (used[1] - used[0]) / (things - 1)
