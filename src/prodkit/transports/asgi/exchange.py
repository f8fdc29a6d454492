"""One HTTP request at the ASGI door, and the response that answers it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

from prodkit.call import CURRENT, Kind, new_request_id
from prodkit.errors import InternalError, ServiceError
from prodkit.transports.asgi.body import Message, Receive, RequestBody, Send, body_too_large
from prodkit.transports.asgi.request import (
    PASSED,
    DoorOptions,
    Metadata,
    RawHeader,
    Scope,
    idempotency_key_of,
    inherit,
    listed,
    request_id_of,
    timeout_of,
)
from prodkit.transports.asgi.route import RoutedCall
from prodkit.transports.problem import CODE_OF_STATUS, problem

RawHeaders: TypeAlias = list[RawHeader]

_SERVER = Kind.SERVER  # an Enum's attributes are slow to reach
_KEY = b"idempotency-key"
#: What a response kept under an idempotency key may hold; a larger one fails loudly.
KEPT_LIMIT = 1 << 20
#: Methods without an effect that a key could protect (RFC 9110, 9.2.1).
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
#: What belongs to one exchange, or to one caller's session, and is not said again in a replay.
_NOT_KEPT = frozenset({b"connection", b"date", b"keep-alive", b"set-cookie"})


@dataclass(slots=True)
class BufferedResponse:
    """A whole response in memory; a middleware of an HTTP pipeline may answer with one itself."""

    status: int
    headers: RawHeaders
    body: bytes = b""


class HttpExchange:
    """One request and its response: the payload and the codec of its call, the guest's `send`.

    Once the door has decided the answer by itself (`refusal`: a body too large, too slow),
    whatever the guest makes of it is not sent. A response is held back, instead of sent, when
    it shall be kept under an idempotency key, and when its status is 500: a guest that answers so
    usually raises right after, and the exception makes the better answer.
    """

    __slots__ = (
        "_keeps",
        "_multiplexed",
        "_nested",
        "_parts",
        "_room",
        "_send",
        "body",
        "call",
        "disconnected",
        "held",
        "locate",
        "receive",
        "refused",
        "scope",
        "started",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, door: DoorOptions) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        method: str = scope["method"]
        raw_path: bytes | None = scope.get("raw_path")
        self.scope = scope
        outer = CURRENT.get() if PASSED in scope else None
        scope[PASSED] = True
        self._nested = outer is not None
        if outer is None:
            sent = headers.get(b"x-request-id")
            request_id = new_request_id() if sent is None else request_id_of(sent)
        else:
            request_id = outer.request_id
        self.call = RoutedCall(
            f"{method} {raw_path.decode('latin-1') if raw_path else quote(scope['path'])}",
            _SERVER,
            transport="http",
            metadata=Metadata(scope, headers, door.edge, door.trusted_proxies),
            payload=self,
            codec=self,
            request_id=request_id,
            safe=method in _SAFE,
            edge=door.edge,
        )
        self.call.statuses = door.statuses
        if outer is not None:
            inherit(self.call, outer)
        self.receive = receive
        self.body: RequestBody | None = None
        self.started = self.disconnected = False
        self._send = send
        self.refused: ServiceError | None = None
        self.held: BufferedResponse | None = None
        self._keeps = False
        self.locate = door.locate
        # From HTTP/2 on a body needs no header to announce it, and no header ends a connection.
        self._multiplexed = scope.get("http_version", "1.1") >= "2"
        if b"content-length" in headers or b"transfer-encoding" in headers or self._multiplexed:
            self._expect_body(headers.get(b"content-length", b""), door)
        if _KEY in headers or b"x-request-timeout" in headers:
            self._read_options(headers, door)

    def _expect_body(self, length: bytes, door: DoorOptions) -> None:
        if length == b"0":
            return
        self.body = RequestBody(self.receive, door.body_limit, door.body_timeout, door.clock)
        self.receive = self.body.receive
        if length.isdigit() and int(length) > door.body_limit:
            self.refused = body_too_large(door.body_limit)

    def _read_options(self, headers: dict[bytes, bytes], door: DoorOptions) -> None:
        try:
            if b"x-request-timeout" in headers:
                left = timeout_of(headers[b"x-request-timeout"])
                end = door.clock.monotonic() + left
                self.call.deadline = min(end, self.call.deadline or end)
            if _KEY in headers and not self.call.safe:
                sent = [value for name, value in self.scope["headers"] if name == _KEY]
                self.call.key = idempotency_key_of(*sent)
        except ServiceError as error:
            self.refused = error

    @property
    def refusal(self) -> ServiceError | None:
        """What the door itself refuses this request with, on account of its body too."""
        return self.refused or (None if self.body is None else self.body.refusal)

    async def send(self, message: Message) -> None:
        """Be the `send` of the guest app."""
        if self.refused or (self.body is not None and self.body.refusal):
            return
        kind, ended = message["type"], False
        if kind == "http.response.start":
            call, status = self.call, message["status"]
            call.status = status
            call.code = CODE_OF_STATUS[status]
            if self._keeps or status == 500:
                self._hold_back(status, message.get("headers", ()))
                return
            self.started = True
            message = {**message, "headers": self._headers(message.get("headers", ()))}
        elif kind == "http.response.body":
            if self.held is not None:
                self._hold_more(self.held, message)
                return
            ended = not message.get("more_body", False)
            if not (ended or self.call.streaming):
                self.call.first_message()
        try:
            await self._send(message)
        except OSError:
            self.disconnected = True
            raise
        if ended:
            self.call.answered()

    def _hold_back(self, status: int, headers: Any) -> None:
        self.held = held = BufferedResponse(status, list(headers))
        self._parts: list[bytes] = []
        self._room = KEPT_LIMIT
        kind = dict(held.headers).get(b"content-type", b"")
        if self._keeps and kind.startswith(b"text/event-stream"):
            self._refuse("an event stream cannot be kept under an idempotency key")

    def _hold_more(self, held: BufferedResponse, message: Message) -> None:
        part = message.get("body", b"")
        self._parts.append(part)
        self._room -= len(part)
        if not message.get("more_body", False):
            held.body = b"".join(self._parts)
        if self._room < 0:
            self._refuse(f"the response is larger than the {KEPT_LIMIT} bytes that can be kept")

    def _refuse(self, why: str) -> None:
        self.refused = InternalError(why, reason="RESPONSE_NOT_KEPT")
        raise self.refused

    def _headers(self, headers: Any) -> RawHeaders:
        result = [*headers]
        if not self._nested:
            result.append((b"x-request-id", self.call.request_id.encode("latin-1")))
        return listed(result, self.call.reply) if self.call.reply else result

    def drop_held(self) -> None:
        """Forget what was held back: the guest raised after all."""
        if self.held is not None:
            self.held = None
            self.call.status = 0

    async def deliver(self, response: BufferedResponse) -> None:
        """Send a response that is whole in memory; a HEAD request gets its headers alone."""
        self.call.status = response.status
        self.started = True
        body = b"" if self.scope["method"] == "HEAD" else response.body
        start = {"type": "http.response.start", "status": response.status}
        await self._send({**start, "headers": self._headers(response.headers)})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def deliver_problem(self, error: BaseException) -> None:
        """Answer `error`; the connection ends with it if the client still has a body to send."""
        status, headers, body = problem(error, call=self.call)
        if self.body is not None and not self.body.arrived and not self._multiplexed:
            headers.append((b"connection", b"close"))
        await self.deliver(BufferedResponse(status, headers, body))

    async def content(self) -> bytes:
        """Return method, path, query and body; from here on the response is held, to be kept."""
        self._keeps = True
        body = b"" if self.body is None else await self.body.whole()
        scope = self.scope
        query: bytes = scope.get("query_string", b"")
        return f"{scope['method']} {scope['path']}?".encode() + query + b"\n" + body

    def freeze(self, result: Any) -> bytes:
        """Return a BufferedResponse, or a Starlette Response with a body, as bytes.

        Cookies and the date stay behind: they belong to the first caller and moment.
        """
        if not isinstance(result, BufferedResponse):
            result = BufferedResponse(result.status_code, result.raw_headers, bytes(result.body))
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in result.headers
            if name.lower() not in _NOT_KEPT
        ]
        head = json.dumps([result.status, headers]).encode()
        return b"\n".join((head, result.body))

    def thaw(self, data: bytes) -> BufferedResponse:
        """Return the response that was frozen; it becomes the answer of this call."""
        head, _, body = data.partition(b"\n")
        status, headers = json.loads(head)
        self.call.status = status
        self.call.code = CODE_OF_STATUS[status]
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return BufferedResponse(status, raw, body)
