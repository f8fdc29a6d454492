"""A one-way pipe between two tasks that holds one message at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class PipeClosedError(Exception):
    """Nobody will read what was to be written."""


class Pipe(Generic[T]):
    """Hands messages from one writing task to one reading task.

    A writer waits while the last message is unread, so a slow reader slows its peer, as flow
    control does on a wire. Iterating ends when the pipe is closed and empty.
    """

    __slots__ = ("_closed", "_items", "_waiter")

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    async def put(self, item: T) -> None:
        """Write `item` once the last one was read. Raises PipeClosedError."""
        while self._items and not self._closed:
            await self._wait()
        if self._closed:
            raise PipeClosedError
        self._items.append(item)
        self._wake()

    def close(self) -> None:
        """End it: the reader still gets what is in it."""
        self._closed = True
        self._wake()

    def __aiter__(self) -> Pipe[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            await self._wait()
        item = self._items.popleft()
        self._wake()
        return item

    async def _wait(self) -> None:
        # Full and empty exclude each other, so reader and writer never wait at the same time.
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
