"""The local door: gRPC between services that share a process, without a socket.

Generated stubs and servicers work unchanged, and messages are serialised both ways, so nothing is
shared that a wire would not share. Pipelines, deadlines, metadata, status, details and both
cancellations are those of the gRPC doors: it is the same code, over another wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextvars import Context
from typing import Any, cast

import grpc

from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.pipeline import Pipeline
from prodkit.transports.local.exchange import Exchange
from prodkit.transports.local.wire import LocalWire
from prodkit.transports.rpc.client import RpcChannel
from prodkit.transports.rpc.method import Pipelines, no_policies
from prodkit.transports.rpc.outbound import Credentials, Inject, Outbound
from prodkit.transports.rpc.registrar import Handler, Registration
from prodkit.transports.rpc.server import Door, bind, unknown_handler


class LocalServer:
    """Answers the calls of `LocalChannel`s in this process; takes what `GrpcServer` takes.

    While it is not started its callers get UNAVAILABLE, as if nothing listened.
    """

    def __init__(
        self,
        *registrations: Registration,
        pipelines: Pipelines = no_policies,
        unknown: Pipeline | None = None,
        name: str = "local",
        edge: bool = False,
        message_limit: int = 4 << 20,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self.edge = edge
        self.message_limit = message_limit
        self.clock = clock
        self.serving = False
        self._registrations = registrations
        self._pipelines = pipelines
        self._door = Door(clock, edge=edge)
        self._handlers: dict[str, Handler] = {}
        self._rest = unknown_handler(unknown or Pipeline(), self._door)
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        """Bind all methods and serve. Raises ConfigurationError for what cannot work."""
        self._handlers = bind(self._registrations, self._pipelines, self._door).handlers
        self.serving = True

    async def quiesce(self) -> None:
        """Keep serving: who calls a local server drains with it."""

    async def stop(self, grace: float) -> None:
        """Refuse new calls, give those in flight `grace` seconds, then cancel and await them."""
        self.serving = False
        await self._door.in_flight.drain(grace)
        self._stopped.set()

    async def wait(self) -> None:
        """Return when the server has stopped."""
        await self._stopped.wait()

    def accept(self, exchange: Exchange) -> None:
        """Begin to answer an exchange; the wire calls this."""
        handler = self._handlers.get(exchange.method, self._rest)
        task = asyncio.get_running_loop().create_task(exchange.serve(handler), context=Context())
        # From its first moment on: a drain must not miss a task that has not run yet.
        self._door.in_flight.tasks.add(task)
        task.add_done_callback(self._door.in_flight.tasks.discard)
        task.add_done_callback(exchange.dropped)
        exchange.task = task


class LocalChannel(RpcChannel):
    """A channel for generated stubs to a `LocalServer` of this process."""

    def __init__(
        self,
        server: LocalServer,
        pipelines: Pipelines = no_policies,
        *,
        credentials: Credentials | None = None,
        inject: Inject | None = None,
        safe_methods: Collection[str] = (),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        wire = cast("grpc.aio.Channel", cast("Any", LocalWire(server)))
        outbound = Outbound(credentials, inject, clock)
        super().__init__(wire, outbound, pipelines, safe_methods)
