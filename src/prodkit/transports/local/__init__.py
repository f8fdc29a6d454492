"""The local door: gRPC between services of one process, without a socket. Extra: `grpc`."""

from prodkit.transports.local.door import LocalChannel, LocalServer

__all__ = ["LocalChannel", "LocalServer"]
