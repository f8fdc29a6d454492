"""The generic cell rate algorithm (GCRA): a burst that comes back at a steady rate."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar

from prodkit.clock import seconds
from prodkit.options import whole_number
from prodkit.policies.rate_limiter.limit import SECOND, Units, check_name


class Arrival:
    """Keeps when the key's burst will be whole: GCRA's theoretical arrival time."""

    __slots__ = ("_before", "limit", "whole_at")

    def __init__(self, limit: Units, whole_at: int = 0) -> None:
        self.limit = limit
        self.whole_at = self._before = whole_at

    def wait(self, cost: int, now: int) -> int:
        """Return how long until `cost` may be spent; 0 is now."""
        wait = cost * self.limit.interval - self.limit.tolerance
        if self.whole_at > now:
            wait += self.whole_at - now
        return max(wait, 0)

    def spend(self, cost: int, at: int) -> int:
        """Count `cost` at the time `at`; return how far ahead of it the key is then."""
        ahead = cost * self.limit.interval
        self._before = before = self.whole_at
        if before > at:
            ahead += before - at
        self.whole_at = at + ahead
        return ahead

    def ahead(self, now: int) -> int:
        """Return how far ahead of `now` the key is."""
        return max(self.whole_at - now, 0)

    def give_back(self, cost: int, at: int, ahead: int) -> None:
        """Undo a `spend` at `at` that returned `ahead`, if it was the last.

        Had somebody reserved the next turn since, two calls would come at that one.
        """
        if self.whole_at == at + ahead:
            self.whole_at = self._before


@dataclass(frozen=True, slots=True)
class Rate:
    """`limit` calls every `per` seconds, of which `burst` (default: `limit`) may come at once.

    GCRA never admits more than burst + limit x window / per calls in any window, and keeps one
    number a key. Time is counted in whole nanoseconds, so that a burst of ten is ten whatever the
    clock reads. `name` stands in the RateLimit fields, where a limiter has several rates.
    """

    meter: ClassVar[type[Arrival]] = Arrival

    limit: int
    per: float | timedelta = 1.0
    burst: int | None = None
    name: str | None = field(default=None, kw_only=True)
    window: int = field(init=False, repr=False)
    interval: int = field(init=False, repr=False)
    tolerance: int = field(init=False, repr=False)
    recovery: int = field(init=False, repr=False)  # in which all that was used comes back

    def __post_init__(self) -> None:
        whole_number("limit", self.limit)
        if self.burst is not None:
            whole_number("burst", self.burst)
        if self.name is not None:
            check_name(self.name)
        window = round(seconds("per", self.per) * SECOND)
        interval = -(-window // self.limit)
        object.__setattr__(self, "window", window)
        object.__setattr__(self, "interval", interval)
        burst = self.burst or self.limit
        object.__setattr__(self, "recovery", -(-burst * window // self.limit))  # not of the rounded
        object.__setattr__(self, "tolerance", interval * burst)

    def __str__(self) -> str:
        burst = "" if self.burst is None else f" or {self.burst} at once"
        return f"{self.limit} call{'s' * (self.limit > 1)} in {self.window / SECOND:g} s{burst}"
