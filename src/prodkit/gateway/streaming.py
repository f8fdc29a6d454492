"""HTTP requests answered by a stream of messages: server-sent events, or JSON lines.

A server's `send` after a disconnect does nothing, silently. So whoever streams watches `receive`
too, and a client that leaves cancels the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from prodkit.call import CURRENT, Call
from prodkit.contract import MethodContract
from prodkit.contract.bindings import HTTP_BODY
from prodkit.contract.json_print import Printers
from prodkit.errors import ConfigurationError
from prodkit.gateway.transcoding import (
    Encode,
    Receive,
    Requests,
    Scope,
    Send,
    json_encoder,
    serializers,
)
from prodkit.transports.asgi.body import client_gone
from prodkit.transports.problem import problem
from prodkit.transports.rpc.status import from_rpc_error


@dataclass(frozen=True, slots=True)
class Framing:
    """How messages and errors stand in a body; `idle` keeps a silent connection alive."""

    content_type: bytes
    message: bytes
    error: bytes
    end: bytes
    idle: bytes


EVENTS = Framing(
    b"text/event-stream", b"event: message\ndata: ", b"event: error\ndata: ", b"\n\n", b":\n\n"
)
#: A line that begins with `{"error":` is the last, and holds the problem.
LINES = Framing(b"application/x-ndjson", b"", b'{"error":', b"\n", b"\n")


class StreamHandler:
    """Answers a route by a method with a stream of responses.

    As long as no message came, an error is raised and becomes an HTTP status; afterwards it is a
    frame of its own, and raised once the body has ended. `heartbeat` is in seconds.
    """

    def __init__(
        self,
        method: MethodContract,
        requests: Requests,
        channel: Any,
        printers: Printers,
        heartbeat: float,
    ) -> None:
        if method.output.full_name == HTTP_BODY:
            raise ConfigurationError("a stream of google.api.HttpBody is not supported")
        self._requests = requests
        self._call = channel.unary_stream(method.full_name, **serializers(method))
        self._encode = json_encoder(method, printers)
        self._status = method.success_status
        self._heartbeat = heartbeat

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, path: Mapping[str, str]
    ) -> None:
        """Answer one request."""
        request, metadata = await self._requests.read(scope, receive, path)
        if scope["method"] == "HEAD":
            await _Response(scope, send, self._encode, self._status).end()
            return
        # The method's deadline ends at the first message: that is the service's to judge.
        call = self._call(request, metadata=metadata)
        response = _Response(scope, send, self._encode, self._status)
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await self._pump(aiter(call), response, gone)
        except grpc.aio.AioRpcError as error:
            told = from_rpc_error(error)
            await response.fail(told)
            raise told from error
        except Exception as error:
            if not gone.done():
                await response.fail(error)
            raise
        finally:
            call.cancel()
            await _end(gone)

    async def _pump(
        self, messages: AsyncIterator[Message], response: _Response, gone: asyncio.Future[None]
    ) -> None:
        while True:
            coming = asyncio.ensure_future(_next(messages))
            try:
                while not coming.done():
                    await asyncio.wait(
                        (coming, gone),
                        timeout=self._heartbeat,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    if gone.done():
                        gone.result()
                        raise client_gone()
                    if not coming.done():
                        await response.idle()
            finally:
                await _end(coming)
            message = coming.result()
            if message is None:
                await response.end()
                return
            await response.message(message)


async def _next(messages: AsyncIterator[Message]) -> Message | None:
    return await anext(messages, None)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(task: asyncio.Future[Any]) -> None:
    """Cancel a task if it still runs, and wait until it has ended."""
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))


class _Response:
    """The body that is being sent; it starts with the first thing that there is to send."""

    def __init__(self, scope: Scope, send: Send, encode: Encode, status: int) -> None:
        self._scope = scope
        self._send = send
        self._encode = encode
        self._status = status
        self._framing = EVENTS if _wants_events(scope) else LINES
        self._started = False

    async def message(self, message: Message) -> None:
        framing = self._framing
        await self._write(framing.message + self._encode(message) + framing.end)

    async def idle(self) -> None:
        await self._write(self._framing.idle)

    async def end(self) -> None:
        await self._write(b"", more=False)

    async def fail(self, error: Exception) -> None:
        """Say in the body, and end it, what can no longer be said in the status."""
        if self._started:
            call = CURRENT.get() or Call(self._scope["path"])
            _, _, document = problem(error, call=call)
            framing = self._framing
            closing = b"}" if framing is LINES else b""
            await self._write(framing.error + document + closing + framing.end, more=False)

    async def _write(self, data: bytes, *, more: bool = True) -> None:
        if not self._started:
            self._started = True
            headers = [
                (b"content-type", self._framing.content_type),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),  # nginx would hold small events back
            ]
            start = {"type": "http.response.start", "status": self._status, "headers": headers}
            await self._send(start)
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


def _wants_events(scope: Scope) -> bool:
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
    return b"text/event-stream" in accepted
