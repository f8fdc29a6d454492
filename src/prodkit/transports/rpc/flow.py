"""Streams between a caller and the task of its pipeline: requests out, responses in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any

import grpc

from prodkit.call import Call
from prodkit.transports.rpc.pipe import Pipe


class Requests:
    """The requests of a client's stream; remembers what its source died of."""

    __slots__ = ("_source", "error", "pipe")

    def __init__(self, source: AsyncIterable[Any] | Iterable[Any] | None) -> None:
        self.pipe: Pipe[Any] | None = Pipe() if source is None else None
        self._source = self.pipe if source is None else source
        self.error: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[Any]:
        # The wire cancels the call when its source fails, and forgets why; the caller should know.
        try:
            if isinstance(self._source, AsyncIterable):
                async for request in self._source:
                    yield request
            elif self._source is not None:
                for request in self._source:
                    yield request
        except Exception as error:
            self.error = error
            raise


class Flow:
    """Where a response stream passes from the task of its pipeline to the reader.

    The task waits for the first message only; from there on the reader reads the wire by itself,
    and tells the task, which is still inside of the pipeline, how the stream ended.
    """

    __slots__ = ("began", "ended", "first", "messages")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.began: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.first: Any = grpc.aio.EOF
        self.messages: AsyncIterator[Any] | None = None

    async def carry(self, messages: AsyncIterator[Any], call: Call) -> None:
        """Offer the stream to the reader and wait for its end. Raises AioRpcError."""
        first = await anext(messages, grpc.aio.EOF)
        if first is grpc.aio.EOF:
            return
        call.first_message()
        self.first, self.messages = first, messages
        self.release()
        await self.ended

    def release(self, *_: object) -> None:
        """Let the reader go on: there is a first message, or there will be none."""
        if not self.began.done():
            self.began.set_result(None)

    def end(self, error: Exception | None = None) -> None:
        """Tell the task how the stream ended."""
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
