"""HTTP requests answered by RPC methods: one request, one response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import orjson
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from prodkit.contract import MethodContract, validate
from prodkit.contract.bindings import HTTP_BODY, HttpBinding
from prodkit.contract.json_parse import Parsers
from prodkit.contract.json_print import Printers
from prodkit.errors import InvalidArgumentError
from prodkit.gateway.binding import RequestBinder
from prodkit.gateway.forwarding import Forwarding
from prodkit.transports.asgi.body import body_too_large, client_gone
from prodkit.transports.rpc.status import from_rpc_error

Scope: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Encode: TypeAlias = Callable[[Message], bytes]
Headers: TypeAlias = "list[tuple[bytes, bytes]]"

#: Trailing metadata of a service that its HTTP caller may see.
_PASSED = frozenset({"ratelimit", "ratelimit-policy"})


@dataclass(frozen=True, slots=True)
class Requests:
    """The way from HTTP to the request of one binding of a method, and to its metadata."""

    binder: RequestBinder
    forwarding: Forwarding
    body_limit: int

    async def read(
        self, scope: Scope, receive: Receive, path: Mapping[str, str]
    ) -> tuple[Message, tuple[tuple[str, str], ...]]:
        """Return the request, valid by its contract's rules, and the metadata of the call."""
        metadata = self.forwarding.metadata(scope)
        binder = self.binder
        body, content_type = b"", ""
        if binder.takes_body:
            content_type = _content_type(scope)
            if not binder.raw:
                _check_media_type(content_type)
            body = await _read(receive, self.body_limit)
        request = binder.bind(path, scope["query_string"], body, content_type)
        validate(request)
        return request, metadata


def json_encoder(method: MethodContract, printers: Printers) -> Encode:
    """Return what turns the responses of `method` into JSON."""
    render = printers.message(method.output)
    return lambda message: orjson.dumps(render(message))


class UnaryHandler:
    """Answers a route by a method with one response."""

    def __init__(
        self, method: MethodContract, requests: Requests, channel: Any, printers: Printers
    ) -> None:
        self._requests = requests
        self._call = channel.unary_unary(method.full_name, **serializers(method))
        self._timeout = method.deadline
        self._status = method.success_status
        # What is one caller's own, a token above all, must stay in no cache (RFC 6749, 5.1).
        shared = method.access.public and method.safe
        self._headers: Headers = [] if shared else [(b"cache-control", b"no-store")]
        raw = method.output.full_name == HTTP_BODY
        self._encode = None if raw else json_encoder(method, printers)

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, path: Mapping[str, str]
    ) -> None:
        """Answer one request; the errors of the service are raised as ServiceError."""
        request, metadata = await self._requests.read(scope, receive, path)
        call = self._call(request, timeout=self._timeout, metadata=metadata)
        try:
            response = await call
            headers = self._headers + [
                (name.encode("ascii"), value.encode("ascii"))
                for name, value in await call.trailing_metadata()
                if name in _PASSED
            ]
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        await self._answer(send, response, headers, head=scope["method"] == "HEAD")

    async def _answer(self, send: Send, response: Any, headers: Headers, *, head: bool) -> None:
        body = b""
        if self._status not in (204, 205):
            if self._encode is None:
                body = response.data
                kind = response.content_type.encode("latin-1") or b"application/octet-stream"
            else:
                body, kind = self._encode(response), b"application/json"
            headers += [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        start = {"type": "http.response.start", "status": self._status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": b"" if head else body})


def serializers(method: MethodContract) -> dict[str, Any]:
    """Return what a channel must know to call `method`."""
    return {
        "request_serializer": GetMessageClass(method.input).SerializeToString,
        "response_deserializer": GetMessageClass(method.output).FromString,
    }


def requests_of(
    method: MethodContract,
    binding: HttpBinding,
    parsers: Parsers,
    *,
    headers: tuple[str, ...],
    body_limit: int,
) -> Requests:
    """Compile what reads the requests of `binding`."""
    binder = RequestBinder(binding, method.input, parsers)
    return Requests(binder, Forwarding(method, headers), body_limit)


def _content_type(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"content-type":
            text: str = value.decode("latin-1")
            return text
    return ""


def _check_media_type(content_type: str) -> None:
    """Refuse what a browser's form can send across sites without asking."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise InvalidArgumentError(
            f"the body must be application/json, not {kind}", reason="UNSUPPORTED_MEDIA_TYPE"
        )


async def _read(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise client_gone()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise body_too_large(limit)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
