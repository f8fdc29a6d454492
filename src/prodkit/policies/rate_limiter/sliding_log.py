"""The sliding window log: an exact limit, for the price of a time stamp a call."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar

from prodkit.clock import seconds
from prodkit.options import whole_number
from prodkit.policies.rate_limiter.limit import SECOND, Units, check_name


class Log:
    """Keeps when the key's calls came, the oldest first, for as long as they count."""

    __slots__ = ("_first", "_stamps", "limit", "whole_at")

    def __init__(self, limit: Units) -> None:
        self.limit = limit
        self._stamps = array("q")
        self._first = 0  # those before it have left the window
        self.whole_at = 0

    def wait(self, cost: int, now: int) -> int:
        """Return how long until `cost` may be spent; 0 is now."""
        stamps, interval = self._stamps, self.limit.interval
        first, end = self._first, len(stamps)
        while first < end and stamps[first] + interval <= now:
            first += 1
        if first == end:
            del stamps[:]
            self._first = 0
            return 0
        if first * 2 > end:  # seldom enough to cost little, often enough to bound what is kept
            del stamps[:first]
            end -= first
            first = 0
        self._first = first
        over = end + cost - self.limit.tolerance // interval
        free = stamps[over - 1] + interval if over > first else now
        # Those who wait their turn have stamps ahead of time; nobody passes them.
        return max(free, stamps[-1], now) - now

    def spend(self, cost: int, at: int) -> int:
        """Count `cost` at the time `at`; return how far ahead of it the key is then."""
        self._stamps.extend([at] * cost)
        self.whole_at = at + self.limit.interval
        return self.ahead(at)

    def ahead(self, now: int) -> int:
        """Return an interval for each call but the oldest, and the time until that one leaves."""
        stamps, interval = self._stamps, self.limit.interval
        used = min(len(stamps) - self._first, self.limit.tolerance // interval)
        if not used:
            return 0
        return (used - 1) * interval + max(stamps[-used] + interval - now, 0)

    def give_back(self, cost: int, at: int, ahead: int) -> None:
        """Undo a `spend` at `at`, if it was among the last; calls of one moment are alike."""
        stamps = self._stamps
        while cost and len(stamps) > self._first and stamps[-1] == at:
            stamps.pop()
            cost -= 1
        self.whole_at = stamps[-1] + self.limit.interval if stamps else 0


@dataclass(frozen=True, slots=True)
class SlidingLog:
    """At most `limit` calls in *any* window of `per` seconds (one end belongs to it, one does not).

    The sliding window log. A `Rate` is as strict over time, but after a pause lets its burst and
    the refill meet in one window, up to twice `limit`; take this one where a contract says "never
    more than". It keeps a stamp for each call in the window, so up to `limit` a key, and for those
    that wait: 8 bytes each in memory, up to 16 before it tidies up. What counts is when the store
    admits a call, not when its handler begins.
    """

    meter: ClassVar[type[Log]] = Log

    limit: int
    per: float | timedelta = 1.0
    name: str | None = field(default=None, kw_only=True)
    window: int = field(init=False, repr=False)
    interval: int = field(init=False, repr=False)
    tolerance: int = field(init=False, repr=False)
    recovery: int = field(init=False, repr=False)  # in which all that was used comes back

    def __post_init__(self) -> None:
        whole_number("limit", self.limit)
        if self.name is not None:
            check_name(self.name)
        window = round(seconds("per", self.per) * SECOND)
        object.__setattr__(self, "window", window)
        object.__setattr__(self, "interval", window)
        object.__setattr__(self, "recovery", window)
        object.__setattr__(self, "tolerance", window * self.limit)

    def __str__(self) -> str:
        return f"{self.limit} call{'s' * (self.limit > 1)} in any {self.window / SECOND:g} s"
