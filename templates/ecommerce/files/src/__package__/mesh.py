"""The mesh: how services call each other, over memory or over gRPC, here or in other processes."""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from prodkit.errors import ConfigurationError, UnavailableError
from prodkit.pipeline import Pipeline
from prodkit.service.health import Check
from prodkit.transports.grpc import (
    GrpcServer,
    MethodInfo,
    Pipelines,
    RpcChannel,
    no_policies,
    open_channel,
)
from prodkit.transports.local import LocalChannel, LocalServer
from prodkit.transports.rpc.outbound import Credentials, Inject
from prodkit.transports.rpc.registrar import Registration

from .peers import target

Server: TypeAlias = LocalServer | GrpcServer
Kind: TypeAlias = Literal["local", "grpc"]


class _Late:
    """What a server is given once its services are built; channels may be opened before that."""

    def __init__(self) -> None:
        self.registrations: list[Registration] = []
        self.pipelines: dict[str, Pipelines] = {}

    def register(self, server: Any) -> None:
        """Register what came."""
        for registration in self.registrations:
            registration(server)

    def pipeline(self, method: MethodInfo) -> Pipeline:
        """Pass the question on to whoever serves the method."""
        if method.full_name not in self.pipelines:
            raise ConfigurationError(f"{method.full_name} is not in the contract")
        return self.pipelines[method.full_name](method)


class Mesh:
    """Servers and channels by service name.

    Services call each other in circles (orders pays, payments confirms), so a channel may be
    opened before its server is served. Over memory each of the services `here` has a server, over
    gRPC all of them share one, at `host` and `port` (0: one that is free). Services elsewhere are
    found in `peers`; of several processes those are called that say that they serve.
    """

    def __init__(
        self,
        kind: Kind,
        *,
        here: Collection[str],
        peers: Mapping[str, str],
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._kind = kind
        self._here = frozenset(here)
        self._peers = peers
        self._host = host
        self._port = port
        self._late: dict[str, _Late] = {}
        self._servers: dict[str, Server] = {}

    def serve(
        self,
        service: str,
        registrations: Sequence[Registration],
        pipelines: Pipelines,
        methods: Collection[str],
    ) -> Server:
        """Return the server of `service`, a component for its `servers`."""
        server = self._server(service)
        late = self._late[self._place(service)]
        late.registrations += registrations
        late.pipelines |= dict.fromkeys(methods, pipelines)
        return server

    def channel(
        self,
        service: str,
        pipelines: Pipelines,
        *,
        credentials: Credentials | None = None,
        inject: Inject | None = None,
    ) -> RpcChannel:
        """Open a channel to `service` for generated stubs."""
        if service not in self._here:
            return open_channel(
                target(service, self._peers[service]),
                pipelines,
                credentials=credentials,
                inject=inject,
                watch_health=True,
            )
        server = self._server(service)
        if isinstance(server, LocalServer):
            return LocalChannel(server, pipelines, credentials=credentials, inject=inject)
        # One that drains calls itself to the last: what is under way may need it.
        where = f"{server.host}:{server.port}"
        return open_channel(where, pipelines, credentials=credentials, inject=inject)

    def probe(self, service: str) -> Check:
        """Return a check of whether a service elsewhere serves; the shop goes on without some."""
        check = self.channel(service, no_policies).unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )

        async def ask() -> None:
            answer = await check(HealthCheckRequest(), timeout=1.0)
            if answer.status != HealthCheckResponse.SERVING:
                raise UnavailableError(f"{service} does not serve")

        return Check("serving", ask, essential=False)

    def _place(self, service: str) -> str:
        """Return the name of the server that serves `service`."""
        return service if self._kind == "local" else "services"

    def _server(self, service: str) -> Server:
        place = self._place(service)
        if place not in self._servers:
            late = self._late[place] = _Late()
            self._servers[place] = self._made(place, late)
        return self._servers[place]

    def _made(self, place: str, late: _Late) -> Server:
        if self._kind == "local":
            return LocalServer(late.register, pipelines=late.pipeline, name=f"{place}-local")
        return GrpcServer(
            late.register,
            pipelines=late.pipeline,
            host=self._host,
            port=self._port or _free_port(),
            name="grpc",
        )


def _free_port() -> int:
    """Return a port that is free now: channels must know it before its server listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
