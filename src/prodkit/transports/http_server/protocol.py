"""One HTTP/1.1 connection: uvicorn's httptools protocol, strict about framing, size and time."""

from __future__ import annotations

import asyncio
import contextvars
import re
from dataclasses import dataclass
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from prodkit.call import Call, Kind
from prodkit.errors import Code, InvalidArgumentError, ServiceError
from prodkit.transports.http_server.answer import Answer
from prodkit.transports.http_server.linger import LingeringTransport
from prodkit.transports.http_server.websocket import CONNECTION_LOG
from prodkit.transports.problem import problem

#: What a Host field may hold (RFC 9110, 7.2), near enough to keep apart what is an attack.
_HOST = re.compile(rb"[A-Za-z0-9._~%:\[\]-]*")
_CONTENT_LENGTH, _TRANSFER_ENCODING = b"content-length", b"transfer-encoding"
_MEANINGFUL = frozenset({b"host", b"expect", _TRANSFER_ENCODING})


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bytes and seconds that a connection gets; HttpServer documents each."""

    header_limit: int
    header_timeout: float
    idle_timeout: float


class ConnectionState(ServerState):
    """What the connections of one server share."""

    def __init__(self, limits: ConnectionLimits) -> None:
        super().__init__()
        self.limits = limits
        self.draining = False
        # Requests run in copies of the context in which the server was started. Left alone they
        # would inherit that of an earlier request on their connection (CPython issue 140947).
        self.context = contextvars.copy_context()


class HttpProtocol(HttpToolsProtocol):
    """Reads requests strictly, one answer for one request, and closes whatever is in doubt.

    On top of the parser's strictness (two lengths, bare LF, folded fields, NUL): exactly one sound
    Host, no transfer coding but chunked, no trailer ever becomes a header, headers bounded in size
    and in time, idle and silent connections closed. A request that breaks a rule is answered with
    a problem, unless an earlier one on the connection still waits for its own answer: then that is
    the last one.
    """

    server_state: ConnectionState

    def __init__(self, config: Config, state: ConnectionState, app_state: dict[str, Any]) -> None:
        super().__init__(config, state, app_state, asyncio.get_running_loop())
        self.logger = CONNECTION_LOG
        self.access_log = False
        self._limits = state.limits
        self._violation: ServiceError | None = None
        self._deaf = False
        self._in_headers = False
        self._header_bytes = self._hosts = 0
        self._header_timer: asyncio.TimerHandle | None = None

    # Connection

    # uvicorn narrows what asyncio.Protocol takes, and so do we.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a first request."""
        super().connection_made(LingeringTransport(transport, self._awaits_body))
        if self.client is None:  # it left before it was accepted; what it sent is in the socket yet
            self._deaf = True
            transport.abort()
        self.timeout_keep_alive_task = self.loop.call_later(
            self._limits.header_timeout, self.timeout_keep_alive_handler
        )
        idle = self._limits.idle_timeout  # seconds, and parts of them: call_later takes both
        self.timeout_keep_alive = idle  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """Call every timer off."""
        self._unset_keepalive_if_required()
        self._stop_header_timer()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close now if idle; else answer what is being answered and close then.

        Who waits for server-sent events waits for ever: it is sent off, to reconnect elsewhere.
        """
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy and (b"accept", b"text/event-stream") in self.cycle.scope["headers"]:
            self.transport.close()
        else:
            super().shutdown()

    def close(self) -> None:
        """Close once what was written has left; whether the client still sends is its affair."""
        transport = self.transport
        transport.direct.close() if isinstance(transport, LingeringTransport) else transport.close()

    def announce_drain(self) -> None:
        """Let the answers that are under way be the last on this connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def _awaits_body(self) -> bool:
        return self.cycle is not None and self.cycle.more_body

    # Bytes in

    def data_received(self, data: bytes) -> None:
        """Parse; what remains of the headers may neither grow nor linger."""
        if self._deaf or self.transport.is_closing():
            return
        begun = self._in_headers
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade()
        except httptools.HttpParserError:
            self._refuse(self._violation or _malformed("the request is not sound HTTP/1.1"))
        if self._in_headers and not self._deaf:
            if begun:  # the piece in which a request begins may hold the end of another
                self._header_bytes += len(data)
                if self._header_bytes > self._limits.header_limit:
                    self._refuse(_headers_too_large(self._limits.header_limit))
            if self._header_timer is None:
                self._header_timer = self.loop.call_later(
                    self._limits.header_timeout, self._headers_late
                )

    def _headers_late(self) -> None:
        self._refuse(
            ServiceError(
                "the headers took too long to arrive", code=Code.CANCELLED, reason="HEADERS_TIMEOUT"
            )
        )

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _upgrade(self) -> None:
        if self._should_upgrade():
            self._unset_keepalive_if_required()
            transport = self.transport
            assert isinstance(transport, LingeringTransport)
            self.transport = transport.direct
            self.server_state.context.copy().run(self.handle_websocket_upgrade)
        else:  # answered as if no upgrade had been asked for; what follows is not HTTP
            self._deaf = True
            self.cycle.keep_alive = False

    # Parser callbacks

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._in_headers = True
        self._header_bytes = self._hosts = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is counted and forgotten."""
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes + len(self.url) > self._limits.header_limit:
            self._violate(_headers_too_large(self._limits.header_limit))
        if not self._in_headers:
            return
        name = name.lower()
        if name in _MEANINGFUL:
            self._read(name, value)
        self.headers.append((name, value))

    def _read(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            self._hosts += 1
            if not _HOST.fullmatch(value):
                self._violate(_malformed("the Host field is not sound"))
        elif name == _TRANSFER_ENCODING:
            if value.lower() != b"chunked":
                self._violate(_malformed("no transfer coding but chunked is understood"))
        elif value.lower() == b"100-continue":
            self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        """Begin the answer, if the headers as a whole make sense."""
        self._in_headers = False
        self._header_bytes = 0
        self._unset_keepalive_if_required()
        self._stop_header_timer()
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._violate(_malformed("only HTTP/1.1 and 1.0 are spoken here"))
        if self._hosts > 1 or (self._hosts == 0 and version == "1.1"):
            self._violate(_malformed("a request has exactly one Host field"))
        self._check_meaning(version)
        super().on_headers_complete()
        if self.server_state.draining and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """Await the next request; not for long where this one's body, which nobody read, lacks."""
        super().on_response_complete()
        if self._awaits_body() and self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = self.loop.call_later(
                self._limits.header_timeout, self.timeout_keep_alive_handler
            )

    def _check_meaning(self, version: str) -> None:
        if version == "1.0" and _TRANSFER_ENCODING in dict(self.headers):
            self._violate(_malformed("HTTP/1.0 knows no transfer coding"))
        if self.parser.get_method() == b"CONNECT":
            self._violate(_malformed("this is no proxy"))
        if self.parser.should_upgrade() and self._should_upgrade():
            names = dict(self.headers)
            if _TRANSFER_ENCODING in names or names.get(_CONTENT_LENGTH, b"0") != b"0":
                self._violate(_malformed("a websocket handshake has no body"))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        run = cycle.run_asgi(Answer(cycle, app).run)
        task = self.loop.create_task(run, context=self.server_state.context.copy())
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    # Refusals

    def _violate(self, error: ServiceError) -> None:
        """Stop the parser from within one of its callbacks."""
        self._violation = error
        raise error

    def _refuse(self, error: ServiceError) -> None:
        self._deaf = True
        self._stop_header_timer()
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._answer(error)
        elif self.pipeline or not cycle.more_body:  # earlier requests are owed their answers
            cycle.keep_alive = False
        elif cycle.response_started:
            self.transport.close()
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._answer(error)

    def _answer(self, error: ServiceError) -> None:
        call = Call("unparsed request", Kind.SERVER, transport="http")
        status, headers, body = problem(error, call=call)
        headers.append((b"connection", b"close"))
        fields = b"".join(b"%s: %s\r\n" % field for field in headers)
        self.transport.write(STATUS_LINE[status] + fields + b"\r\n" + body)
        assert isinstance(self.transport, LingeringTransport)
        self.transport.linger()


def _malformed(why: str) -> ServiceError:
    return InvalidArgumentError(why, reason="MALFORMED_REQUEST")


def _headers_too_large(limit: int) -> ServiceError:
    return InvalidArgumentError(
        f"the headers are larger than {limit} bytes", reason="HEADERS_TOO_LARGE"
    )
