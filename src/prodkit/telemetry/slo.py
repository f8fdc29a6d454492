"""Availability: how many of a service's answers were good, over a window that slides."""

from __future__ import annotations

from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.clock import seconds as _seconds

_PARTS = 60


class Availability:
    """The share of calls that did not fail over the last `window` seconds (an hour by default).

    The window moves on by a sixtieth at a time. What the caller did wrong and what the caller
    cancelled is no failure; refusals for overload are. A service that nobody called is available.
    """

    __slots__ = ("_clock", "_failed", "_index", "_place", "_total", "_until", "_width")

    def __init__(self, *, window: float = 3600.0, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._width = _seconds("window", window) / _PARTS
        self._total = [0] * _PARTS
        self._failed = [0] * _PARTS
        self._index = 0
        self._advance(int(clock.monotonic() // self._width))

    def record(self, now: float, *, failed: bool) -> None:
        """Count one answer, given at the reading `now` of the clock."""
        if now >= self._until:
            self._advance(int(now // self._width))
        self._total[self._place] += 1
        if failed:
            self._failed[self._place] += 1

    def percent(self) -> float:
        """Return the availability in percent."""
        now = self._clock.monotonic()
        if now >= self._until:
            self._advance(int(now // self._width))
        total = sum(self._total)
        return 100.0 * (total - sum(self._failed)) / total if total else 100.0

    def _advance(self, index: int) -> None:
        for passed in range(max(self._index + 1, index - _PARTS + 1), index + 1):
            self._total[passed % _PARTS] = self._failed[passed % _PARTS] = 0
        self._index = max(index, self._index)
        self._place = self._index % _PARTS
        self._until = (self._index + 1) * self._width
