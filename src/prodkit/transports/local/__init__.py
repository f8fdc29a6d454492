"""The local door: gRPC between services of one process, without a socket. Extra: `grpc`."""

from prodkit._extras import extra

with extra("grpc", of=__name__):
    import grpc  # noqa: F401

from prodkit.transports.local.door import LocalChannel, LocalServer

__all__ = ["LocalChannel", "LocalServer"]
