"""The generic cell rate algorithm (GCRA): a rate, and one number a key that enforces it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from prodkit.clock import seconds
from prodkit.errors import ConfigurationError

SECOND = 1_000_000_000
_SAMPLE = 8


@dataclass(frozen=True, slots=True)
class Rate:
    """`limit` calls every `per` seconds, of which `burst` (default: `limit`) may come at once.

    GCRA never admits more than burst + limit x window / per calls in any window. Time is counted
    in whole nanoseconds, so that a burst of ten is ten whatever the clock reads: `interval` is
    what a call costs, `tolerance` what may be spent ahead.
    """

    limit: int
    per: float = 1.0
    burst: int | None = None
    interval: int = field(init=False, repr=False)
    tolerance: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_count("limit", self.limit)
        if self.burst is not None:
            _check_count("burst", self.burst)
        interval = -(-round(seconds("per", self.per) * SECOND) // self.limit)
        object.__setattr__(self, "interval", interval)
        object.__setattr__(self, "tolerance", interval * (self.burst or self.limit))


def _check_count(option: str, value: object) -> None:
    # A bool is an int to Python; nobody means a limit of True.
    if type(value) is not int or value < 1:
        raise ConfigurationError(f"{option} must be a whole number from 1 on, not {value!r}")


class RateLimitStore(Protocol):
    """Where the limiter keeps one number a key: the time at which its burst will be whole again."""

    async def take(self, key: str, rate: Rate, now: int) -> int:
        """Count a call of `key` if the rate admits it; return how far ahead of time it would be.

        With `tat`, the theoretical arrival time kept for `key` (none: long ago), that is
        `max(tat, now) + rate.interval - now`, in nanoseconds. At most `rate.tolerance` means
        admitted: `now` plus that is kept as the new `tat`. More means refused: nothing changes.
        `now` is this process's monotonic clock; a store that processes share asks one clock
        for all of them instead. `prodkit.testing.conformance` checks an implementation.
        """


class MemoryRateLimitStore:
    """Keeps the keys of one process that spent anything; also as `prodkit.stores.memory`.

    Each call looks at one key in turn, or two when it brings a new one, and forgets it if its
    burst is whole again. With `max_keys` there, a new key displaces, of the eight next in turn,
    the one closest to being whole: who is being held back is the last to be forgotten.
    """

    __slots__ = ("_arrivals", "_ring", "max_keys")

    def __init__(self, *, max_keys: int = 100_000) -> None:
        if max_keys < 1:
            raise ValueError(f"max_keys must be at least 1, not {max_keys!r}")
        self.max_keys = max_keys
        self._arrivals: dict[str, int] = {}
        self._ring: deque[str] = deque()  # every key once; its head is next in turn

    async def take(self, key: str, rate: Rate, now: int) -> int:
        """Count a call of `key` if the rate admits it; see RateLimitStore. Never suspends."""
        arrivals = self._arrivals
        if self._ring:
            self._look_at_next(now)
        arrival = arrivals.get(key)
        if arrival is None:
            self._make_room(now)
            self._ring.append(key)
            arrival = now
        elif arrival < now:
            arrival = now
        ahead = arrival + rate.interval - now
        if ahead <= rate.tolerance:
            arrivals[key] = now + ahead
        return ahead

    def _look_at_next(self, now: int) -> None:
        ring = self._ring
        if self._arrivals[ring[0]] <= now:
            del self._arrivals[ring.popleft()]
        else:
            ring.rotate(-1)

    def _make_room(self, now: int) -> None:
        ring = self._ring
        if ring:
            self._look_at_next(now)
        if len(ring) >= self.max_keys:
            soonest = min(islice(ring, _SAMPLE), key=self._arrivals.__getitem__)
            ring.remove(soonest)  # among the first eight, so it is found at once
            del self._arrivals[soonest]
            ring.rotate(-_SAMPLE + 1)

    @property
    def size(self) -> int:
        """How many keys are kept."""
        return len(self._ring)
