"""Microseconds over a bare await: all the contestants of a row in turn, many rounds, medians."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from time import process_time_ns
from typing import Any

from benchmarks.peers import is_peer

from prodkit import Call, Pipeline

Once = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Pair:
    """What is measured, what is taken off it, and how many things one call of it does."""

    once: Once
    base: Once
    things: int = 1


@dataclass(frozen=True)
class Contestant:
    """A library, or a floor written by hand; `make` imports it and runs on the event loop."""

    name: str
    make: Callable[[], Pair | Awaitable[Pair]]


@dataclass(frozen=True)
class Row:
    """One thing that all contestants do; the first is the floor.

    `budget` is of prodkit: in microseconds, or in times the floor.
    """

    title: str
    contestants: Sequence[Contestant]
    budget: float | None = None
    of_floor: bool = False
    over: str = "a bare await"
    loops: Sequence[str] = ("uvloop",)


@dataclass
class Result:
    """A contestant's microseconds of each round; none: it is not installed."""

    name: str
    rounds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def quartiles(self) -> tuple[float, float]:
        lower, _, upper = statistics.quantiles(self.rounds, n=4)
        return lower, upper


async def leaf() -> int:
    return 1


async def leaf_of(_call: Call) -> int:
    return 1


def new_call() -> Call:
    return Call("operation", safe=True)


def through(*policies: Any, leaf: Callable[[Call], Awaitable[Any]] = leaf_of) -> Pair:
    """Measure policies as a door drives them; making the call is the door's expense."""
    handler = Pipeline(*policies).bind(leaf)
    return Pair(lambda: handler(new_call()), lambda: leaf(new_call()))


async def guarded(work: Once = leaf) -> Any:
    return await work()


def around(function: Once, base: Once = leaf) -> Pair:
    """Measure a decorated function; `base` is the function without its decorator."""
    return Pair(function, base)


def refused_through(*policies: Any, error: type[BaseException]) -> Pair:
    """Measure policies that refuse, as a door drives them."""
    handler = Pipeline(*policies).bind(leaf_of)

    async def base() -> None:
        new_call()
        try:
            raise RuntimeError("refused")
        except RuntimeError:
            return

    return Pair(refused(lambda: handler(new_call()), error).once, base)


def refused(function: Once, *errors: type[BaseException]) -> Pair:
    """Measure a refusal, over raising and catching an exception."""

    async def once() -> None:
        try:
            await function()
        except errors:
            return
        raise RuntimeError("it was not refused")

    return Pair(once, raise_and_catch)


async def raise_and_catch() -> None:
    try:
        raise RuntimeError("refused")
    except RuntimeError:
        return


async def measure(row: Row, rounds: int, slice_ms: float) -> list[Result]:
    """Run the contestants of `row` in turn, each round in the opposite order."""
    results = [Result(contestant.name) for contestant in row.contestants]
    running: list[tuple[Result, Pair, int]] = []
    for contestant, result in zip(row.contestants, results, strict=True):
        try:
            made = contestant.make()
            pair = made if isinstance(made, Pair) else await made
        except ModuleNotFoundError as error:
            if not is_peer(error):
                raise
            continue
        running.append((result, pair, await _calls_in(pair.once, slice_ms)))
    gc.collect()
    gc.freeze()  # what is there already is no contestant's garbage
    for turn in range(rounds):
        for result, pair, calls in running if turn % 2 else reversed(running):
            gc.collect()
            taken = await _time(pair.once, calls) - await _time(pair.base, calls)
            result.rounds.append(taken / calls / pair.things / 1000)
    gc.unfreeze()
    return results


async def _calls_in(once: Once, milliseconds: float) -> int:
    """Return how many calls fill a slice; these warm up, too."""
    calls = 10
    while (taken := await _time(once, calls)) < milliseconds * 1e6 / 4:
        calls *= 2
    return max(1, round(calls * milliseconds * 1e6 / taken))


async def _time(once: Once, calls: int) -> int:
    began = process_time_ns()
    for _ in repeat(None, calls):
        await once()
    return process_time_ns() - began
