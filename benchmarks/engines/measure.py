"""Things a second, by so many callers at once: all contestants of a row in turn, many rounds."""

from __future__ import annotations

import asyncio
import gc
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from operator import truediv
from time import perf_counter
from typing import Any

Once = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Contestant:
    """A library, or the bare client; `make` imports it, and runs on the event loop."""

    name: str
    make: Callable[[], Once | Awaitable[Once]]


@dataclass(frozen=True)
class Row:
    """One thing that all contestants do; the first is the floor, `budget` is times that."""

    title: str
    callers: int
    contestants: Sequence[Contestant]
    budget: float | None = None


@dataclass
class Result:
    """Things a second, in each round."""

    name: str
    rounds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def over(self, floor: Result) -> float:
        """Return how many times the floor this is: the median of the rounds' own ratios."""
        return statistics.median(map(truediv, self.rounds, floor.rounds))


async def measure(row: Row, rounds: int, seconds: float) -> list[Result]:
    """Run the contestants of `row` in turn, each round in the opposite order."""
    results = [Result(contestant.name) for contestant in row.contestants]
    running: list[tuple[Result, Once]] = []
    for contestant, result in zip(row.contestants, results, strict=True):
        try:
            made = contestant.make()
            once = made if callable(made) else await made
        except ImportError:
            continue
        await _rate(once, row.callers, seconds / 4)
        running.append((result, once))
    for turn in range(rounds):
        for result, once in running if turn % 2 else reversed(running):
            gc.collect()
            result.rounds.append(await _rate(once, row.callers, seconds))
    return results


async def _rate(once: Once, callers: int, seconds: float) -> float:
    done = 0
    began = perf_counter()
    end = began + seconds

    async def call() -> None:
        nonlocal done
        while perf_counter() < end:
            await once()
            done += 1

    await asyncio.gather(*(call() for _ in range(callers)))
    return done / (perf_counter() - began)
