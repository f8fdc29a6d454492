"""Who waits for an order to change: told in the process, asked again for other processes' sake."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable

from ..domain.order import FINAL, Order


class Changes:
    """Streams an order's versions to any number of watchers."""

    def __init__(self, *, poll: float = 2.0) -> None:
        self._poll = poll
        self._watchers: dict[str, set[asyncio.Event]] = defaultdict(set)

    def __call__(self, order: Order) -> None:
        """Wake the watchers of `order`."""
        for watcher in self._watchers.get(order.id, ()):
            watcher.set()

    async def watch(
        self, order_id: str, get: Callable[[str], Awaitable[Order]]
    ) -> AsyncIterator[Order]:
        """Yield the order now and after each change, until it changes no more."""
        changed = asyncio.Event()
        self._watchers[order_id].add(changed)
        try:
            shown = 0
            while True:
                changed.clear()
                order = await get(order_id)
                if order.version > shown:
                    shown = order.version
                    yield order
                if order.status in FINAL:
                    return
                await _either(changed, self._poll)
        finally:
            self._watchers[order_id].discard(changed)
            if not self._watchers[order_id]:
                del self._watchers[order_id]


async def _either(changed: asyncio.Event, poll: float) -> None:
    try:
        async with asyncio.timeout(poll):
            await changed.wait()
    except TimeoutError:
        pass
