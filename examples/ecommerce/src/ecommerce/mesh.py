"""The mesh: how services of one process call each other, over memory or over real gRPC."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from prodkit.pipeline import Pipeline
from prodkit.transports.grpc import GrpcServer, MethodInfo, Pipelines, RpcChannel, open_channel
from prodkit.transports.local import LocalChannel, LocalServer
from prodkit.transports.rpc.outbound import Credentials, Inject
from prodkit.transports.rpc.registrar import Registration

Server: TypeAlias = LocalServer | GrpcServer
Kind: TypeAlias = Literal["local", "grpc"]


class _Late:
    """What a server is given once its service is built; channels may be opened before that."""

    def __init__(self) -> None:
        self.registrations: Sequence[Registration] = ()
        self.pipelines: Pipelines | None = None

    def register(self, server: Any) -> None:
        """Register what came."""
        for registration in self.registrations:
            registration(server)

    def pipeline(self, method: MethodInfo) -> Pipeline:
        """Pass the question on."""
        assert self.pipelines is not None, "a server was started that no service serves"
        return self.pipelines(method)


class Mesh:
    """Servers and channels by service name.

    Services call each other in circles (orders pays, payments confirms), so a channel may be
    opened before its server is served.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._late: dict[str, _Late] = {}
        self._servers: dict[str, Server] = {}

    def serve(
        self, service: str, registrations: Sequence[Registration], pipelines: Pipelines
    ) -> Server:
        """Return the server of `service`, a component for its `servers`."""
        server = self._server(service)
        late = self._late[service]
        late.registrations, late.pipelines = registrations, pipelines
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
        server = self._server(service)
        if isinstance(server, LocalServer):
            return LocalChannel(server, pipelines, credentials=credentials, inject=inject)
        target = f"{server.host}:{server.port}"
        return open_channel(target, pipelines, credentials=credentials, inject=inject)

    def _server(self, service: str) -> Server:
        if service not in self._servers:
            late = self._late[service] = _Late()
            self._servers[service] = self._made(service, late)
        return self._servers[service]

    def _made(self, service: str, late: _Late) -> Server:
        if self._kind == "local":
            return LocalServer(late.register, pipelines=late.pipeline, name=f"{service}-local")
        return GrpcServer(
            late.register, pipelines=late.pipeline, port=_free_port(), name=f"{service}-grpc"
        )


def _free_port() -> int:
    """Return a port that is free now: peers must know it before its server listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
