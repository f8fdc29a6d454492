"""One call on the local wire: the context its servicer gets, and what both ends share."""

from __future__ import annotations

import asyncio
import logging
from asyncio import CancelledError
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final, Never, Protocol, TypeAlias

import grpc

from prodkit.clock import Clock, TimerHandle
from prodkit.transports.rpc.context import MetadataLike
from prodkit.transports.rpc.pipe import Pipe, PipeClosedError
from prodkit.transports.rpc.registrar import Handler, behavior

Serializer: TypeAlias = Callable[[Any], bytes]
Deserializer: TypeAlias = Callable[[bytes], Any]
Pairs: TypeAlias = tuple[tuple[str, str | bytes], ...]

_LOG: Final = logging.getLogger(__name__)


class LocalPeer(Protocol):
    """What the wire needs of a server."""

    clock: Clock
    message_limit: int
    serving: bool

    def accept(self, exchange: Exchange) -> None:
        """Begin to answer."""


class Exchange(grpc.aio.ServicerContext[Any, Any]):
    """One call on the local wire: the server's context, and the state that both ends share."""

    def __init__(self, peer: LocalPeer, method: str, metadata: Pairs, timeout: float | None):
        self.method = method
        self.clock = peer.clock
        self.limit = peer.message_limit
        self.request: bytes | None = None
        self.response: bytes | None = None
        # Streams have a pipe instead; which end streams is the client's to say.
        self.requests: Pipe[bytes] | None = None
        self.responses: Pipe[bytes] | None = None
        self.ended = False
        self.status = grpc.StatusCode.OK
        self.message = ""
        self.initial: Pairs = ()
        self.trailing: Pairs = ()
        self.task: asyncio.Task[None] | None = None
        self._metadata = metadata
        self._serialize: Serializer | None = None
        self._deserialize: Deserializer | None = None
        self._callbacks: list[Callable[[Any], None]] = []
        self._deadline = None if timeout is None else self.clock.monotonic() + timeout
        self._timer: TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        if timeout is not None:
            self._timer = self.clock.call_later(timeout, self._expire)

    async def serve(self, handler: Handler) -> None:
        """Answer the call; runs in a task of the server, in a context of its own."""
        self._serialize = handler.response_serializer
        try:
            self._deserialize = handler.request_deserializer
            streams = handler.request_streaming
            payload = self._incoming() if streams else await self._only_request()
            response = await behavior(handler)(payload, self)
            if not handler.response_streaming:
                self.response = self._encode(response)
            self.finish(self.status, self.message)
        except (grpc.aio.AbortError, PipeClosedError):
            self.finish(self.status, self.message)
        except CancelledError:
            self.finish(grpc.StatusCode.CANCELLED, "cancelled")
            raise
        except Exception:  # noqa: BLE001 - the last one who can tell the client
            _LOG.exception("%s failed beneath its pipeline", self.method)
            self.finish(grpc.StatusCode.INTERNAL, "internal error")

    def finish(self, status: grpc.StatusCode, message: str) -> None:
        """End the call for both ends; the first to say so is right."""
        if self.ended:
            return
        self.status, self.message = status, message
        self.ended = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        for pipe in (self.requests, self.responses):
            if pipe is not None:
                pipe.close()
        if self._timer is not None:
            self._timer.cancel()
        for callback in self._callbacks:
            callback(self)

    def give_up(self, status: grpc.StatusCode, message: str) -> bool:
        """End the call from the client's end, and cancel the handler."""
        if self.ended:
            return False
        self.finish(status, message)
        if self.task is not None:
            self.task.cancel()
        return True

    async def outgoing(self) -> AsyncIterator[bytes]:
        """Yield what the client is to read: a stream, or a stream of one."""
        assert self.responses is not None
        async for data in self.responses:
            yield data
        if self.response is not None:
            yield self.response

    async def end(self) -> None:
        """Wait for the end; the client's one reader does."""
        if not self.ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def dropped(self, _: object) -> None:
        """End a call whose task ended without a word: it was cancelled before it ran."""
        self.finish(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")

    def _expire(self) -> None:
        self.give_up(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    async def _only_request(self) -> Any:
        if self.requests is None:
            return self._decode(self.request or b"")
        return await anext(self._incoming())

    async def _incoming(self) -> AsyncIterator[Any]:
        if self.requests is None:
            yield self._decode(self.request or b"")
            return
        async for data in self.requests:
            yield self._decode(data)

    def _decode(self, data: bytes) -> Any:
        if len(data) > self.limit:
            self.finish(*too_large(data, self.limit))
            raise PipeClosedError
        return data if self._deserialize is None else self._deserialize(data)

    def _encode(self, message: Any) -> bytes:
        return encoded(message, self._serialize)

    async def read(self) -> Any:
        """Not the way in: servicers read through their own context."""
        raise NotImplementedError

    async def write(self, message: Any) -> None:
        """Send one message; waits while the reader has not taken the last one."""
        if self.responses is None:
            raise grpc.aio.UsageError("the client expects one response, not a stream")
        await self.responses.put(self._encode(message))

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: MetadataLike = ()
    ) -> Never:
        """End the call with a status."""
        self.trailing = tuple(trailing_metadata)
        self.finish(code, details)
        raise grpc.aio.AbortError

    async def abort_with_status(self, status: grpc.Status) -> Never:
        """End the call with a status."""
        await self.abort(status.code, status.details, tuple(status.trailing_metadata or ()))

    async def send_initial_metadata(self, initial_metadata: MetadataLike) -> None:
        """Keep them for the client."""
        self.initial = tuple(initial_metadata)

    def set_trailing_metadata(self, trailing_metadata: MetadataLike) -> None:
        """Keep them for the client."""
        self.trailing = tuple(trailing_metadata)

    def invocation_metadata(self) -> grpc.aio.Metadata | None:
        """Return what the client sent."""
        return self._metadata  # type: ignore[return-value]  # pairs, as grpc.aio itself returns

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the status of a handler that returns."""
        self.status = code

    def set_details(self, details: str) -> None:
        """Set the message of a handler that returns."""
        self.message = details

    def code(self) -> grpc.StatusCode:
        """Return the status so far."""
        return self.status

    def details(self) -> str:
        """Return the message so far."""
        return self.message

    def time_remaining(self) -> float:
        """Return the seconds left, None for no deadline."""
        if self._deadline is None:
            return None  # type: ignore[return-value]  # as grpc.aio does
        return max(0.0, self._deadline - self.clock.monotonic())

    def done(self) -> bool:
        """Say whether the call has ended."""
        return self.ended

    def cancelled(self) -> bool:
        """Say whether it was cancelled."""
        return self.status is grpc.StatusCode.CANCELLED

    def add_done_callback(self, callback: Any) -> None:
        """Call back at the end."""
        self._callbacks.append(callback)

    def peer(self) -> str:
        """Name this process."""
        return "local:"

    def peer_identities(self) -> Iterable[bytes] | None:
        """Return None: nobody proved anything."""
        return None

    def peer_identity_key(self) -> str | None:
        """Return None: nobody proved anything."""
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return nothing: there is no TLS."""
        return {}

    def set_compression(self, compression: grpc.Compression) -> None:
        """Do nothing: there are no bytes to save."""

    def disable_next_message_compression(self) -> None:
        """Do nothing: there are no bytes to save."""


def encoded(message: Any, serialize: Serializer | None) -> bytes:
    """Return what travels."""
    data: bytes = message if serialize is None else serialize(message)
    return data


def too_large(data: bytes, limit: int) -> tuple[grpc.StatusCode, str]:
    """Return the status of a message over the limit, in the words of gRPC."""
    text = f"Received message larger than max ({len(data)} vs. {limit})"
    return grpc.StatusCode.RESOURCE_EXHAUSTED, text
