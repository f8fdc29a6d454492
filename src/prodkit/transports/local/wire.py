"""What stands for HTTP/2 between a local channel and a local server."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, Never

import grpc

from prodkit.transports.local.exchange import (
    Deserializer,
    Exchange,
    LocalPeer,
    Pairs,
    Serializer,
    encoded,
    too_large,
)
from prodkit.transports.rpc.flow import Requests
from prodkit.transports.rpc.pipe import Pipe, PipeClosedError


class WireCall:
    """The client's end of an exchange: what `RpcChannel` asks of a grpc.aio call."""

    __slots__ = ("_deserialize", "_exchange", "_pump")

    def __init__(
        self, exchange: Exchange, deserialize: Deserializer | None, pump: asyncio.Task[None] | None
    ) -> None:
        self._exchange = exchange
        self._deserialize = deserialize
        self._pump = pump

    def __await__(self) -> Generator[Any, None, Any]:
        return self._answer().__await__()

    async def _answer(self) -> Any:
        try:
            await self._exchange.end()
        except CancelledError:
            self.cancel()
            raise
        self._raise_for_status()
        return self._decode(self._exchange.response or b"")

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for data in self._exchange.outgoing():
                yield self._decode(data)
        except CancelledError:
            self.cancel()
            raise
        self._raise_for_status()

    def cancel(self) -> bool:
        """Give the call up; the handler is cancelled."""
        if self._pump is not None:
            self._pump.cancel()
        return self._exchange.give_up(grpc.StatusCode.CANCELLED, "Locally cancelled")

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """Return what the server sent first."""
        return grpc.aio.Metadata(*self._exchange.initial)

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """Return what the server sent last."""
        return grpc.aio.Metadata(*self._exchange.trailing)

    def _decode(self, data: bytes) -> Any:
        if len(data) > self._exchange.limit:
            self.cancel()
            raise self._error(*too_large(data, self._exchange.limit))
        return data if self._deserialize is None else self._deserialize(data)

    def _raise_for_status(self) -> None:
        exchange = self._exchange
        if exchange.status is not grpc.StatusCode.OK:
            raise self._error(exchange.status, exchange.message)

    def _error(self, status: grpc.StatusCode, message: str) -> grpc.aio.AioRpcError:
        exchange = self._exchange
        initial, trailing = exchange.initial, exchange.trailing
        return grpc.aio.AioRpcError(
            status, grpc.aio.Metadata(*initial), grpc.aio.Metadata(*trailing), message
        )


class LocalWire:
    """The part of `grpc.aio.Channel` that `RpcChannel` uses, to one server of this process."""

    def __init__(self, server: LocalPeer) -> None:
        self._server = server
        self._pumps: set[asyncio.Task[None]] = set()

    def unary_unary(self, *method: Any, **options: Any) -> Callable[..., WireCall]:
        """Return what starts a call with one response."""
        return self._method(False, *method, **options)

    def unary_stream(self, *method: Any, **options: Any) -> Callable[..., WireCall]:
        """Return what starts a call with a stream of responses."""
        return self._method(True, *method, **options)

    stream_unary = unary_unary
    stream_stream = unary_stream

    def _method(
        self,
        streams: bool,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        **_: object,
    ) -> Callable[..., WireCall]:
        server = self._server

        def start(payload: Any, *, timeout: float | None, metadata: Pairs, **_: object) -> WireCall:
            exchange = Exchange(server, method, metadata, timeout)
            if streams:
                exchange.responses = Pipe()
            if not server.serving:
                exchange.finish(grpc.StatusCode.UNAVAILABLE, "the local server is not serving")
                return WireCall(exchange, response_deserializer, None)
            pump = self._send(exchange, payload, request_serializer)
            server.accept(exchange)
            return WireCall(exchange, response_deserializer, pump)

        return start

    def _send(
        self, exchange: Exchange, payload: Any, serialize: Serializer | None
    ) -> asyncio.Task[None] | None:
        if not isinstance(payload, Requests):
            exchange.request = encoded(payload, serialize)
            return None
        pipe: Pipe[bytes] = Pipe()
        exchange.requests = pipe
        pump = asyncio.get_running_loop().create_task(_pump(exchange, pipe, payload, serialize))
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)
        return pump

    async def close(self, grace: float | None = None) -> None:
        """End the pumps of request streams; everything else belongs to the server."""
        del grace
        for pump in self._pumps:
            pump.cancel()
        while self._pumps:
            await asyncio.wait(self._pumps)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Say whether the server serves."""
        del try_to_connect
        ready = self._server.serving
        state = grpc.ChannelConnectivity
        return state.READY if ready else state.TRANSIENT_FAILURE

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> Never:
        """Not to be had: a local server starts and stops with the process."""
        raise NotImplementedError

    async def channel_ready(self) -> None:
        """Return at once: there is nothing to connect."""


async def _pump(
    exchange: Exchange, pipe: Pipe[bytes], requests: Requests, serialize: Serializer | None
) -> None:
    try:
        async for request in requests:
            await pipe.put(encoded(request, serialize))
    except PipeClosedError:
        return
    except Exception:  # noqa: BLE001 - `Requests` keeps it; the call ends, as on the wire
        exchange.give_up(grpc.StatusCode.CANCELLED, "the requests broke off")
    pipe.close()
