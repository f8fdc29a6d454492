"""The loads under way, one a key, and the refreshes among them that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from prodkit._tasks import complete
from prodkit.clock import Clock
from prodkit.data.cache.flight import Flight

K = TypeVar("K")
T = TypeVar("T")


class Flights(Generic[K, T]):
    """Starts loads and joins them; a load that was detached is still awaited, but not kept.

    `loaded(key, value)` and `failed(key, error)` hear how the load ended that is the key's own;
    `lost(key, error)` hears of each refresh that failed, detached ones too.
    """

    def __init__(
        self,
        *,
        loaded: Callable[[K, T], None],
        failed: Callable[[K, Exception], None],
        lost: Callable[[K, Exception], None],
        clock: Clock,
    ) -> None:
        self._loaded = loaded
        self._failed = failed
        self._lost = lost
        self._clock = clock
        self._current: dict[K, Flight[K, T]] = {}
        self._refreshes: set[Flight[K, T]] = set()
        self.closed = False

    def join(self, key: K, load: Callable[[K], Coroutine[Any, Any, T]]) -> Coroutine[Any, Any, T]:
        """Wait for the load of `key`, which is started if there is none."""
        flight = self._current.get(key)
        if flight is None:
            flight = self._current[key] = Flight(key, load(key), self._landed)
        return flight.join()

    def refresh(self, key: K, load: Callable[[K], Coroutine[Any, Any, T]], limit: float) -> None:
        """Load `key` in the background for `limit` seconds at most, unless somebody does."""
        if key in self._current:
            return
        flight = self._current[key] = Flight(key, load(key), self._landed, kept=True)
        self._refreshes.add(flight)

        def give_up() -> None:
            if flight.release():
                self._lost(key, TimeoutError(f"the refresh took more than {limit:g} s"))

        timer = self._clock.call_later(limit, give_up)
        flight.task.add_done_callback(lambda _task: timer.cancel())

    def detach(self, key: K) -> None:
        """Have the load of `key` be nobody's but its waiters'; the next one starts anew."""
        flight = self._current.pop(key, None)
        if flight is not None:
            flight.release()

    def detach_all(self) -> None:
        """Detach every load."""
        for key in tuple(self._current):
            self.detach(key)

    async def settle(self, seconds: float) -> None:
        """Give the refreshes `seconds` to end."""
        if self._refreshes:
            await asyncio.wait([flight.task for flight in self._refreshes], timeout=seconds)

    async def aclose(self) -> None:
        """End the refreshes and await them; those that somebody waits for are left to them."""
        self.closed = True
        for flight in tuple(self._refreshes):
            flight.release()
        ending = [flight.task for flight in self._refreshes if not flight.wanted]
        if ending:
            await complete(_all(ending))

    def _landed(self, flight: Flight[K, T]) -> None:
        key, task = flight.key, flight.task
        current = self._current.get(key) is flight
        if current:
            del self._current[key]
        if not task.done():
            return
        refresh = flight in self._refreshes
        self._refreshes.discard(flight)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            if current:
                self._loaded(key, task.result())
        elif isinstance(error, Exception):
            if current:
                self._failed(key, error)
            if refresh:
                self._lost(key, error)


async def _all(tasks: list[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks)
