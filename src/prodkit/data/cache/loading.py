"""From a miss to an answer: the second tier if there is one, then the loader; counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from math import inf
from typing import Generic, TypeVar

from prodkit.data.cache.events import CacheStats
from prodkit.data.cache.memory import Memory
from prodkit.data.cache.reports import Reports
from prodkit.data.cache.shared import Fetched, Shared

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Loading(Generic[K, V]):
    """What runs in the task of a load."""

    __slots__ = ("_memory", "_reports", "_shared", "_stats")

    def __init__(
        self,
        shared: Shared[K, V] | None,
        memory: Memory[K, V],
        stats: CacheStats,
        reports: Reports[K],
    ) -> None:
        self._shared = shared
        self._memory = memory
        self._stats = stats
        self._reports = reports

    async def __call__(self, load: Callable[[K], Awaitable[V]], key: K) -> Fetched[V]:
        """Return what the second tier has or `load` returns."""
        shared, counted = self._shared, partial(self._counted, load)
        if shared is None:
            return Fetched(await counted(key), inf)
        fetched = await shared.fetch(
            key,
            counted,
            lasts=partial(self._memory.lasts, ttl=shared.ttl),
            report=partial(self._reports.shared_tier_failed, key),
        )
        self._stats.shared_hits += fetched.shared
        return fetched

    async def _counted(self, load: Callable[[K], Awaitable[V]], key: K) -> V:
        self._stats.loads += 1
        try:
            return await load(key)
        except Exception:
            self._stats.errors += 1
            raise
