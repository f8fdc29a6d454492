"""A cache's second tier within one process."""

from __future__ import annotations

from collections import OrderedDict

from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.options import whole_number


class MemoryCacheStore:
    """Keeps bytes for several caches of one process; for tests, and to try a second tier out.

    At most `max_size` values and as many leases are kept; the least recently used value, the oldest
    lease makes room.
    """

    __slots__ = ("_leases", "_monotonic", "_values", "max_size")

    def __init__(self, *, max_size: int = 10_000, clock: Clock = SYSTEM_CLOCK) -> None:
        self.max_size = whole_number("max_size", max_size)
        self._monotonic = clock.monotonic
        self._values: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._leases: OrderedDict[str, tuple[str, float]] = OrderedDict()

    async def get(self, key: str, /) -> tuple[bytes, float] | None:
        """Return the value and the seconds that it has left; see CacheStore."""
        value, until = self._values.get(key, (b"", 0.0))
        left = until - self._monotonic()
        if left <= 0:
            self._values.pop(key, None)
            return None
        self._values.move_to_end(key)
        return value, left

    async def set(
        self, key: str, value: bytes, /, *, ttl: float, holder: str | None = None
    ) -> bool:
        """Keep `value`, if `holder` still has the lease where one is named; see CacheStore."""
        if holder is not None and self._holder(key) != holder:
            return False
        self._leases.pop(key, None)
        self._values[key] = (bytes(value), self._monotonic() + ttl)
        self._values.move_to_end(key)
        if len(self._values) > self.max_size:
            self._values.popitem(last=False)
        return True

    async def delete(self, key: str, /) -> None:
        """Forget the value and end the lease; see CacheStore."""
        self._values.pop(key, None)
        self._leases.pop(key, None)

    async def acquire(self, key: str, holder: str, /, *, ttl: float) -> bool:
        """Give the lease where there is neither value nor lease; see CacheStore."""
        if self._holder(key) is not None or await self.get(key) is not None:
            return False
        self._leases[key] = (holder, self._monotonic() + ttl)
        self._leases.move_to_end(key)
        if len(self._leases) > self.max_size:
            self._leases.popitem(last=False)
        return True

    async def release(self, key: str, holder: str, /) -> None:
        """End the lease if `holder` has it; see CacheStore."""
        if self._holder(key) == holder:
            del self._leases[key]

    @property
    def size(self) -> int:
        """How many values are kept; expired ones count until they are asked for or make room."""
        return len(self._values)

    def _holder(self, key: str) -> str | None:
        holder, until = self._leases.get(key, (None, 0.0))
        return holder if self._monotonic() < until else None
