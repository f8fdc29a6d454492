"""Where the second tier keeps its values: what a store promises, and how it fails."""

from __future__ import annotations

from typing import Protocol

from prodkit.errors import UnavailableError


class CacheStore(Protocol):
    """Where values are kept for several processes; `check_cache` of prodkit.testing tests one.

    A lease says who loads a key. It ends with its time, with `release`, and with everything that
    makes the load pointless: a value that is set, a key that is deleted. So what was loaded before
    an invalidation is refused after it. Times are seconds by the store's own clock. Whatever a
    method raises is taken for a failure of the store.
    """

    async def get(self, key: str, /) -> tuple[bytes, float] | None:
        """Return the value and the seconds that it has left, or None."""

    async def set(
        self, key: str, value: bytes, /, *, ttl: float, holder: str | None = None
    ) -> bool:
        """Keep `value` for `ttl` and end the key's lease; say whether it was kept.

        With a `holder`, only if that one has the lease now, and atomically so.
        """

    async def delete(self, key: str, /) -> None:
        """Forget the value and end the lease; harmless where there is none."""

    async def acquire(self, key: str, holder: str, /, *, ttl: float) -> bool:
        """Give `holder` the lease for `ttl`, atomically, if there is neither value nor lease."""

    async def release(self, key: str, holder: str, /) -> None:
        """End the lease if `holder` has it; harmless if not."""


class SharedTierError(UnavailableError):
    """The store failed or did not answer in time; the cause is attached."""

    def __init__(self, operation: str, key: str, cause: Exception) -> None:
        super().__init__(f"the shared cache failed to {operation}")
        self.operation = operation
        self.key = key
        self.cause = cause
