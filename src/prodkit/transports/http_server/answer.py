"""One answer on its way to the socket: head and body in one write wherever both are there."""

from __future__ import annotations

import re
from asyncio import CancelledError
from functools import lru_cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

#: Bytes. A body up to here is copied behind its head, which is cheaper than a second write.
_SMALL = 64 << 10
#: What no field may hold (RFC 9110, 5.5); the tab is allowed.
_CONTROLS = bytes([*range(9), *range(10, 32), 127])
_NOT_A_NAME = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_BODILESS = frozenset({204, 304})


class Answer:
    """The `send` of one request: uvicorn's cycle keeps the state, this writes.

    A head whose body has a known length waits for the first piece of it, so that the usual answer
    is one write, one packet. A head without a length, a stream's, leaves at once.
    """

    __slots__ = ("_app", "_chunked", "_closes", "_cycle", "_head", "_left")

    def __init__(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._cycle = cycle
        self._app = app
        self._chunked: bool | None = None
        self._closes = False
        self._left = 0
        self._head = b""

    async def run(self, scope: Any, receive: Any, _send: Any) -> None:
        """Be the guest app of the cycle, and let ours answer.

        What the stop cuts off ends quietly once it has cleaned up behind it. Whatever else is
        raised is an accident, which uvicorn logs with its stack.
        """
        cycle = self._cycle
        try:
            await self._app(scope, receive, self.send)
        except CancelledError:
            if not cycle.response_complete:  # half an answer, or none: nothing may follow it
                cycle.disconnected = True
                cycle.transport.close()
        finally:
            if self._head and not cycle.transport.is_closing():  # its body never came
                cycle.transport.write(self._head)

    async def send(self, message: Any) -> None:
        """Take the guest's next message; RuntimeError for one that may not come now."""
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        kind = message["type"]
        if not cycle.response_started:
            if kind != "http.response.start":
                raise RuntimeError(f"an answer begins with its start, not with {kind!r}")
            self._begin(message["status"], [*cycle.default_headers, *message.get("headers", ())])
        elif not cycle.response_complete:
            if kind != "http.response.body":
                raise RuntimeError(f"after its start an answer has a body, no {kind!r}")
            self._go_on(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError(f"{kind!r} was sent after the answer was complete")

    def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        cycle = self._cycle
        lines = [STATUS_LINE[status]]
        for name, value in headers:
            known = _field_name(name)
            if known in _FRAMING:
                self._frame(known, value)
            lines += (known, b": ", value, b"\r\n")
        head = b"".join(lines)  # one look at all of it: only the ends of its lines are controls
        if len(head) - len(head.translate(None, _CONTROLS)) != 2 + 2 * len(headers):
            raise RuntimeError("a response header holds a control character")
        cycle.response_started = True  # from here on; until now a 500 was possible
        cycle.waiting_for_100_continue = False
        if not (cycle.keep_alive or self._closes):
            head += b"connection: close\r\n"
        if self._chunked is None and status not in _BODILESS and cycle.scope["method"] != "HEAD":
            self._chunked = True
            head += b"transfer-encoding: chunked\r\n"
        self._head = head + b"\r\n"
        if self._chunked:
            self._write(b"")

    def _frame(self, name: bytes, value: bytes) -> None:
        """Read how the answer ends, and whether the connection does."""
        if name == b"content-length":
            if self._chunked is None:
                self._left = int(value)
                self._chunked = False
        elif name == b"connection":
            if b"close" in [token.strip() for token in value.lower().split(b",")]:
                self._cycle.keep_alive = False
                self._closes = True
        elif value.lower() == b"chunked":
            self._left = 0
            self._chunked = True

    def _go_on(self, body: bytes, more: bool) -> None:
        if self._cycle.scope["method"] == "HEAD":
            self._left = 0
            body = b""
        elif self._chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        else:
            self._left -= len(body)
            if self._left < 0:
                raise RuntimeError("the response is longer than its Content-Length")
        self._write(body)
        if not more:
            if self._left:
                raise RuntimeError("the response is shorter than its Content-Length")
            self._complete()

    def _write(self, data: bytes) -> None:
        write = self._cycle.transport.write
        if self._head:
            head, self._head = self._head, b""
            if len(data) <= _SMALL:
                data = head + data
            else:
                write(head)
        if data:
            write(data)

    def _complete(self) -> None:
        cycle = self._cycle
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


@lru_cache(maxsize=1024)
def _field_name(name: bytes) -> bytes:
    """Return the name of a field in lower case; the names that a service answers with are few."""
    if not name or _NOT_A_NAME.search(name):
        raise RuntimeError(f"{name!r} is no name for a response header")
    return name.lower()
