"""One websocket at the ASGI door: a single streaming call, refused before it is accepted."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.websockets import WebSocketDisconnect

from prodkit.call import CURRENT, Call, Kind
from prodkit.errors import Code, ServiceError, code_of
from prodkit.transports.asgi.body import Message, Receive, Send, client_gone
from prodkit.transports.asgi.request import (
    PASSED,
    DoorOptions,
    Metadata,
    RawHeader,
    Scope,
    inherit,
    listed,
    request_id_of,
)
from prodkit.transports.asgi.route import route_of
from prodkit.transports.problem import problem

#: What a close frame tells a client (RFC 6455 and its registry): policy violation, internal
#: error, try again later.
_POLICY, _INTERNAL, _LATER = 1008, 1011, 1013
#: What a server reports when the connection broke without a close frame.
_ABNORMAL = 1006
_CLOSE = {
    Code.UNAVAILABLE: _LATER,
    Code.RESOURCE_EXHAUSTED: _LATER,
    Code.DEADLINE_EXCEEDED: _LATER,
    Code.UNKNOWN: _INTERNAL,
    Code.INTERNAL: _INTERNAL,
    Code.DATA_LOSS: _INTERNAL,
}
_CODES = {1011: Code.INTERNAL, 1012: Code.UNAVAILABLE, 1013: Code.UNAVAILABLE}


class WebSocketSession:
    """One websocket, the payload of its call; acceptance counts as the first message.

    A call that is refused before acceptance is answered with an HTTP problem where the server can
    (`websocket.http.response`), else with a close frame; afterwards always with a close frame.
    """

    __slots__ = (
        "_nested",
        "_receive",
        "_send",
        "accepted",
        "answered",
        "call",
        "gone",
        "scope",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, door: DoorOptions) -> None:
        raw_path: bytes | None = scope.get("raw_path")
        path = raw_path.decode("latin-1") if raw_path else quote(scope["path"])
        outer = CURRENT.get() if PASSED in scope else None
        scope[PASSED] = True
        self._nested = outer is not None
        headers: dict[bytes, bytes] = dict(scope["headers"])
        sent = headers.get(b"x-request-id")
        self.scope = scope
        self.call = Call(
            f"GET {path}",
            Kind.SERVER,
            transport="websocket",
            metadata=Metadata(scope, headers, door.edge, door.trusted_proxies),
            payload=self,
            request_id=request_id_of(sent) if outer is None else outer.request_id,
            safe=False,
            edge=door.edge,
        )
        self.call.statuses = door.statuses
        if outer is not None:
            inherit(self.call, outer)
        self.accepted = self.answered = self.gone = False
        self._receive = receive
        self._send = send

    async def run(self, app: Any) -> None:
        """Let the guest app have the websocket; a client that leaves is no failure of the guest."""
        try:
            await app(self.scope, self.receive, self.send)
        except WebSocketDisconnect as error:
            if error.code == _ABNORMAL:
                raise client_gone() from error
        except OSError as error:
            if self.gone:
                raise client_gone() from error
            raise
        finally:
            template = route_of(self.scope)
            if template is not None:
                self.call.operation = f"GET {template}"

    async def receive(self) -> Message:
        """Be the `receive` of the guest app."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self.gone = self.answered = True
        return message

    async def send(self, message: Message) -> None:
        """Be the `send` of the guest app."""
        kind = message["type"]
        if kind == "websocket.accept":
            self.accepted = self.answered = True
            self.call.status = 101
            message = {**message, "headers": self._headers(message.get("headers", ()))}
            self.call.first_message()
        elif kind == "websocket.close":
            self._closing(message.get("code", 1000))
        elif kind == "websocket.http.response.start":
            self.answered = True
            self.call.status = message["status"]
            message = {**message, "headers": self._headers(message.get("headers", ()))}
        try:
            await self._send(message)
        except OSError:
            self.gone = True
            raise

    def _closing(self, code: int) -> None:
        if not self.accepted:
            self.call.status = 403  # what servers make of a close before acceptance
            self.call.code = Code.PERMISSION_DENIED
        else:
            self.call.code = _CODES.get(code, Code.OK)
        self.answered = self.gone = True

    def _headers(self, headers: Any) -> list[RawHeader]:
        result = [*headers]
        if not self._nested:
            result.append((b"x-request-id", self.call.request_id.encode("latin-1")))
        return listed(result, self.call.reply or {})

    async def refuse(self, error: Exception) -> None:
        """Tell the client of `error`, as well as the state of the websocket allows."""
        if self.gone:
            return
        if self.accepted:
            await self._close(error)
            return
        status, headers, body = problem(error, call=self.call)
        self.call.status = status
        if "websocket.http.response" not in self.scope.get("extensions", {}):
            await self._close(error)
            return
        start = {"type": "websocket.http.response.start", "status": status}
        await self._send({**start, "headers": self._headers(headers)})
        await self._send({"type": "websocket.http.response.body", "body": body})

    async def _close(self, error: Exception) -> None:
        code = _CLOSE.get(code_of(error), _POLICY)
        reason = error.reason if isinstance(error, ServiceError) else ""
        await self._send({"type": "websocket.close", "code": code, "reason": reason[:120]})
