"""One load, and everybody who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from prodkit.data.detached import detached
from prodkit.errors import UnavailableError
from prodkit.holding import HELD

K = TypeVar("K")
T = TypeVar("T")

#: The loads that the current one is part of, from the outside in.
_PART_OF: ContextVar[tuple[object, ...]] = ContextVar("prodkit_cache_loads", default=())


class Flight(Generic[K, T]):
    """A load in a task of its own, so that no waiter's cancellation is another's.

    It goes on while somebody waits, or while it is `kept`. The last one to leave cancels it and
    awaits its end. `landed` hears of its end before any waiter does; it hears earlier as well,
    the task not done, when nobody wants the load any more: newcomers must not join it.
    """

    __slots__ = ("_kept", "_landed", "_waiters", "key", "task")

    def __init__(
        self,
        key: K,
        load: Coroutine[Any, Any, T],
        landed: Callable[[Flight[K, T]], None],
        *,
        kept: bool = False,
    ) -> None:
        self.key = key
        self._landed = landed
        self._kept = kept
        self._waiters: set[asyncio.Future[None]] = set()
        context = detached()
        context.run(_PART_OF.set, (*_PART_OF.get(), self))
        if kept:  # a refresh: who found the answer stale does not wait for it, whatever it holds
            context.run(HELD.set, None)
        self.task = asyncio.create_task(load, context=context)
        self.task.add_done_callback(self._end)

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for it."""
        return bool(self._waiters)

    async def join(self) -> T:
        """Wait for the load; return what it returned or raise what it raised.

        Raises UnavailableError if the load was cancelled from within: nobody cancelled the waiter.
        Raises RuntimeError to a load that asks for itself, which would wait for ever.
        """
        if self in _PART_OF.get():
            raise RuntimeError("a load asks the cache for the key that it is loading")
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            self._waiters.discard(waiter)
            if self._abandon():
                await self._ended()
            raise
        if self.task.cancelled():
            raise UnavailableError("the load that was waited for was cancelled")
        return self.task.result()

    def release(self) -> bool:
        """Keep the load no longer; say whether that ends it, for somebody may wait for it."""
        self._kept = False
        return self._abandon()

    def _abandon(self) -> bool:
        if self._kept or self._waiters or self.task.done():
            return False
        self._landed(self)
        self.task.cancel()
        return True

    async def _ended(self) -> None:
        """Wait for the end of a cancelled load; more cancellations change nothing."""
        while not self.task.done():
            try:
                await asyncio.wait((self.task,))
            except asyncio.CancelledError:
                continue

    def _end(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # whoever waits is told; nobody waiting is no reason for a log line
        try:
            self._landed(self)
        finally:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
