"""The gRPC server door."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.pipeline import Pipeline
from prodkit.transports.rpc.method import Pipelines, no_policies
from prodkit.transports.rpc.registrar import Handler, Registration
from prodkit.transports.rpc.server import Door, bind, unknown_handler

_HEALTH: Final = "grpc.health.v1.Health"
#: How long the wire gets, beyond the grace, to carry the last statuses out.
_FAREWELL: Final = 1.0


class GrpcServer:
    """Serves gRPC services, every method behind the pipeline that `pipelines` names for it.

    Registrations are `lambda server: add_OrdersServicer_to_server(servicer, server)`. `pipelines`
    is asked once per method, at `start`, which raises ConfigurationError for what cannot work.
    `unknown` guards calls to methods that nobody registered (operation `_OTHER`). With `edge` the
    internal metadata of callers are not believed. Health is served without a pipeline, and so is
    reflection where `reflect` asks for it: nobody authenticates a probe. `port` 0 takes a free
    port, which `.port` then tells.
    """

    def __init__(
        self,
        *registrations: Registration,
        pipelines: Pipelines = no_policies,
        unknown: Pipeline | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        name: str = "grpc",
        edge: bool = False,
        credentials: grpc.ServerCredentials | None = None,
        reflect: bool = False,
        message_limit: int = 4 << 20,
        options: Sequence[tuple[str, Any]] = (),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self.edge = edge
        self.host = host
        self.port = port
        self._registrations = registrations
        self._pipelines = pipelines
        self._unknown = unknown or Pipeline()
        self._credentials = credentials
        self._reflect = reflect
        self._options = _options(message_limit, options)
        self._door = Door(clock, edge=edge)
        self._probes = Door(clock, edge=edge)
        self.health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Bind all methods, listen, and report SERVING for every service.

        Raises ConfigurationError for what cannot work, RuntimeError where the port is taken.
        """
        registrar = bind(self._registrations, self._pipelines, self._door)
        probes = bind(self._probe_registrations(registrar.services), no_policies, self._probes)
        server = grpc.aio.server(options=self._options)
        rest = unknown_handler(self._unknown, self._door)
        server.add_generic_rpc_handlers((_Methods(registrar.handlers | probes.handlers, rest),))
        self.port = self._listen(server)
        # Handlers inherit the context that the server was started in: give them an empty one.
        await asyncio.create_task(server.start(), context=Context())
        for service in registrar.services:
            await self.health.set(service, HealthCheckResponse.SERVING)
        self._server = server

    async def quiesce(self) -> None:
        """Tell the watchers NOT_SERVING, and keep serving."""
        await self.health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Refuse new calls, give those in flight `grace` seconds, then cancel and await them."""
        if self._server is None:
            return
        await self.quiesce()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._server.stop(grace + _FAREWELL))
            # Watchers of the health stay for ever; waiting for them would use up every grace.
            await self._probes.in_flight.drain(0)
            await self._door.in_flight.drain(grace)

    async def wait(self) -> None:
        """Return when the server has stopped; raise what it died of."""
        if self._server is not None:
            await self._server.wait_for_termination()

    def _listen(self, server: grpc.aio.Server) -> int:
        address = f"{self.host}:{self.port}"
        if self._credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, self._credentials)

    def _probe_registrations(self, services: set[str]) -> list[Registration]:
        registrations: list[Registration] = [
            lambda server: health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        ]
        if self._reflect:
            servicer = reflection.aio.ReflectionServicer(
                (*services, _HEALTH, reflection.SERVICE_NAME)
            )
            add: Callable[..., None] = add_ServerReflectionServicer_to_server
            registrations.append(partial(add, servicer))
        return registrations


class _Methods(grpc.GenericRpcHandler):
    """Finds the handler of a method, and for any other name the one that says so."""

    def __init__(self, handlers: dict[str, Handler], rest: Handler) -> None:
        self._handlers = handlers
        self._rest = rest

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        return self._handlers.get(handler_call_details.method, self._rest)


def _options(message_limit: int, options: Sequence[tuple[str, Any]]) -> tuple[tuple[str, Any], ...]:
    return (
        # Two servers on one port would share its calls in silence: the second start must fail.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", message_limit),
        # Clients of ours ping every 30 s; core would take more than two pings in 5 min for abuse.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        *options,
    )
