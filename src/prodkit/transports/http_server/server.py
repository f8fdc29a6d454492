"""The HTTP server: uvicorn's protocol without its process management, as a component.

Needs the `server` extra, and says so.
"""

from __future__ import annotations

import asyncio
import logging
from email.utils import formatdate
from typing import Any

from prodkit._extras import extra
from prodkit.clock import seconds
from prodkit.transports.http_server.lifespan import Lifespan

with extra("server", of="prodkit.transports.http_server"):
    from uvicorn.config import Config

    from prodkit.transports.http_server.protocol import (
        ConnectionLimits,
        ConnectionState,
        HttpProtocol,
    )
    from prodkit.transports.http_server.websocket import WebSocketProtocol

_log = logging.getLogger("prodkit.http")
#: How long a cancelled request may take to clean up behind itself.
_CANCEL_GRACE = 0.3
#: How long the last bytes of an answer may take to leave.
_FLUSH_GRACE = 0.1


class HttpServer:
    """Serves an ASGI app over HTTP/1.1 and websockets on one port; touches no signal.

    `port=0` takes a free one; `.port` is the one taken. `header_limit` (bytes) bounds the request
    line and the headers: 431. `header_timeout` bounds the seconds for them to arrive: 408, or a
    silent close if not a byte came. `idle_timeout` closes connections kept alive without a request;
    it should be longer than that of the router in front. `websocket_limit` bounds a message, in
    bytes. `edge` says whether it closes among the first or the last (service.lifecycle). Bodies
    are the business of PipelineMiddleware.
    """

    def __init__(
        self,
        app: Any,
        *,
        name: str = "http",
        host: str = "127.0.0.1",
        port: int = 0,
        edge: bool = True,
        header_limit: int = 32 << 10,
        header_timeout: float = 10.0,
        idle_timeout: float = 75.0,
        websocket_limit: int = 1 << 20,
        backlog: int = 2048,
    ) -> None:
        if header_limit < 1:
            raise ValueError(f"header_limit must be positive, not {header_limit!r}")
        self.name = name
        self.host = host
        self.port = port
        self.edge = edge
        self._backlog = backlog
        self._limits = ConnectionLimits(
            header_limit,
            seconds("header_timeout", header_timeout),
            seconds("idle_timeout", idle_timeout),
        )
        self._config = Config(
            app,
            http=HttpProtocol,
            ws=WebSocketProtocol,
            ws_max_size=websocket_limit,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            server_header=False,
        )
        self._lifespan = Lifespan(app)
        self._state: ConnectionState | None = None
        self._listener: asyncio.Server | None = None
        self._date_timer: asyncio.TimerHandle | None = None
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        """Start the guest app, then listen; raises OSError or LifespanError."""
        if not self._config.loaded:
            self._config.load()
        await self._lifespan.start()
        self._state = state = ConnectionState(self._limits)
        self._tick()
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                lambda: HttpProtocol(self._config, state, self._lifespan.state),
                self.host,
                self.port,
                backlog=self._backlog,
            )
        except BaseException:
            await self.stop(0)
            raise
        self.port = self._listener.sockets[0].getsockname()[1]

    def quiesce(self) -> None:
        """Keep serving, but let every answer be the last on its connection."""
        if self._state is not None:
            self._state.draining = True
            for connection in self._state.connections:
                if isinstance(connection, HttpProtocol):
                    connection.announce_drain()

    async def stop(self, grace: float) -> None:
        """Accept nothing more, finish what is in flight within `grace` seconds, cancel the rest.

        Websockets are closed with 1012, event streams at once: both are made to reconnect. What is
        cancelled is awaited before the guest's lifespan ends, so nothing is closed under a handler.
        Cancelled itself, it cancels what is in flight now. Raises LifespanError.
        """
        until = asyncio.get_running_loop().time() + grace
        if self._listener is not None:
            self._listener.close()
        try:
            if self._state is not None:
                for connection in list(self._state.connections):
                    connection.shutdown()
                await _ended(self._state.tasks, until)
        except asyncio.CancelledError:
            until = asyncio.get_running_loop().time()
            raise
        finally:
            await self._end(until)

    async def wait(self) -> None:
        """Return once the server has stopped."""
        await self._stopped.wait()

    async def _end(self, until: float) -> None:
        time = asyncio.get_running_loop().time
        if self._state is not None:
            await self._cancel(self._state)
            await _flushed(self._state, max(until, time() + _FLUSH_GRACE))
        if self._date_timer is not None:
            self._date_timer.cancel()
        try:
            await self._lifespan.stop(max(until - time(), _CANCEL_GRACE))
        finally:
            if self._listener is not None:
                await self._listener.wait_closed()
            self._state = self._listener = None
            self._stopped.set()

    async def _cancel(self, state: ConnectionState) -> None:
        for task in state.tasks:
            task.cancel()
        await _ended(state.tasks, asyncio.get_running_loop().time() + _CANCEL_GRACE)
        for task in state.tasks:
            _log.error("%s: a cancelled request does not end: %r", self.name, task)

    def _tick(self) -> None:
        """Renew the Date header; once a second is what it can tell apart."""
        assert self._state is not None
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._date_timer = asyncio.get_running_loop().call_later(1.0, self._tick)


async def _flushed(state: ConnectionState, until: float) -> None:
    """Close every connection once its last answer is written, at `until` at the latest."""
    for connection in list(state.connections):
        if isinstance(connection, HttpProtocol):
            connection.close()
    # uvicorn's protocols leave a set when they are gone, and tell nobody.
    while state.connections and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    for connection in list(state.connections):
        connection.transport.abort()


async def _ended(tasks: set[asyncio.Task[None]], until: float) -> None:
    """Return when `tasks`, which forget themselves, have all ended, or at `until`."""
    loop = asyncio.get_running_loop()
    while tasks and (left := until - loop.time()) > 0:
        await asyncio.wait(set(tasks), timeout=left)
        await asyncio.sleep(0)  # their callbacks
