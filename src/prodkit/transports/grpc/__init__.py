"""The gRPC doors, both ways. Needs the `grpc` extra, and says so."""

from prodkit._extras import extra

with extra("grpc", of=__name__):
    import google.rpc  # noqa: F401
    import grpc  # noqa: F401
    import grpc_health  # noqa: F401
    import grpc_reflection  # noqa: F401

from prodkit.transports.grpc.client import open_channel
from prodkit.transports.grpc.server import GrpcServer
from prodkit.transports.rpc.client import RpcChannel
from prodkit.transports.rpc.method import (
    MethodInfo,
    Pipelines,
    forward_caller,
    idempotency_key,
    no_policies,
)
from prodkit.transports.rpc.status import from_rpc_error, to_status

__all__ = [
    "GrpcServer",
    "MethodInfo",
    "Pipelines",
    "RpcChannel",
    "forward_caller",
    "from_rpc_error",
    "idempotency_key",
    "no_policies",
    "open_channel",
    "to_status",
]
