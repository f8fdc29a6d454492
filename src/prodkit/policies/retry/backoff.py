"""How long to wait before each further attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Final, Literal, TypeAlias, get_args

from prodkit.clock import seconds
from prodkit.errors import ConfigurationError
from prodkit.options import probability

Strategy: TypeAlias = Literal["constant", "exponential", "decorrelated"]
Random: TypeAlias = Callable[[], float]


class Backoff:
    """The waits between the attempts of one call; it knows no clock, and chance is passed in.

    `constant`: each is `wait_initial`. `exponential`: each is twice the one before. Of both, chance
    leaves any part ("full jitter"). `decorrelated`: from `wait_initial` to three times the wait
    before, so that callers who failed together come back apart, and never at once. (AWS,
    "Exponential Backoff And Jitter".) None is above `wait_max`. `wait_jitter`, 0 to 1, is how much
    of its range is left to chance; at 0 every wait is the longest of its range.
    """

    __slots__ = ("strategy", "wait_initial", "wait_jitter", "wait_max")

    def __init__(
        self,
        strategy: Strategy,
        *,
        wait_initial: float | timedelta,
        wait_max: float | timedelta,
        wait_jitter: float,
    ) -> None:
        if strategy not in _STRATEGIES:
            known = ", ".join(repr(name) for name in _STRATEGIES)
            raise ConfigurationError(f"backoff must be one of {known}, not {strategy!r}")
        self.strategy: Strategy = strategy
        self.wait_initial = seconds("wait_initial", wait_initial)
        self.wait_max = seconds("wait_max", wait_max)
        self.wait_jitter = probability("wait_jitter", wait_jitter)
        if self.wait_max < self.wait_initial:
            raise ConfigurationError(
                f"wait_max must not be below wait_initial ({self.wait_initial:g} s), "
                f"not {self.wait_max:g} s"
            )

    def waits(self, random: Random) -> Iterator[float]:
        """Return the waits of one call, without end; `random` gives numbers from 0 to below 1."""
        return self._waits(random, self.wait_jitter)

    def longest(self, count: int) -> float:
        """Return how long the first `count` waits take at most."""
        total = before = 0.0
        for done, wait in enumerate(islice(self._waits(float, 0.0), count)):
            if wait == before:  # it grows no more
                return total + wait * (count - done)
            total, before = total + wait, wait
        return total

    def _waits(self, random: Random, jitter: float) -> Iterator[float]:
        if self.strategy == "decorrelated":
            return self._decorrelated(random, jitter)
        factor = 1.0 if self.strategy == "constant" else 2.0
        return self._growing(factor, random, jitter)

    def _growing(self, factor: float, random: Random, jitter: float) -> Iterator[float]:
        longest = self.wait_initial
        while True:
            yield longest * (1 - jitter * random())
            longest = min(self.wait_max, longest * factor)

    def _decorrelated(self, random: Random, jitter: float) -> Iterator[float]:
        wait = self.wait_initial
        while True:
            longest = wait * 3
            chance = jitter * random() * (longest - self.wait_initial)
            wait = min(self.wait_max, longest - chance)
            yield wait

    def __repr__(self) -> str:
        return f"{self.strategy} {self.wait_initial:g} to {self.wait_max:g} s"


_STRATEGIES: Final = get_args(Strategy)
