"""Telling what went wrong without a caller's noticing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from prodkit.call import CURRENT
from prodkit.data.cache.events import CacheStats, RefreshFailed, SharedTierFailed, StaleServed
from prodkit.data.cache.store import SharedTierError
from prodkit.errors import code_of
from prodkit.events import Event

K = TypeVar("K")
Listener: TypeAlias = Callable[[Event, K, Exception], None]


class Reports(Generic[K]):
    """Counts it, and tells the current call and the cache's own listener."""

    __slots__ = ("_listener", "_policy", "_stats")

    def __init__(self, name: str, stats: CacheStats, listener: Listener[K] | None) -> None:
        self._policy = f"cache {name}"
        self._stats = stats
        self._listener = listener

    def stale_served(self, key: K, error: Exception) -> None:
        """Tell that the old answer stands in for `error`."""
        self._stats.stale_on_error += 1
        self._tell(StaleServed(self._policy, code_of(error)), key, error)

    def shared_tier_failed(self, key: K, failure: SharedTierError) -> None:
        """Tell that the cache did without its store."""
        self._stats.shared_errors += 1
        code = code_of(failure.cause)
        event = SharedTierFailed(self._policy, failure.operation, code)
        self._tell(event, key, failure.cause)

    def refresh_failed(self, key: K, error: Exception) -> None:
        """Tell of a load that nobody waited for; the event loop, if nobody listens either."""
        if not self._tell(RefreshFailed(self._policy, code_of(error)), key, error):
            context = {"message": f"{self._policy} failed to refresh a key", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def _tell(self, event: Event, key: K, error: Exception) -> bool:
        call, listener = CURRENT.get(), self._listener
        if call is not None:
            call.emit(event)
        if listener is not None:
            try:
                listener(event, key, error)
            except Exception:  # who only watches changes no answer
                logging.getLogger(__name__).exception("a listener failed to hear %r", event)
        return listener is not None or (call is not None and call.listener is not None)
