"""What the gRPC door and the local door share: everything but the wire. Extra: `grpc`."""

from prodkit._extras import extra

with extra("grpc", of=__name__):
    import google.rpc  # noqa: F401
    import grpc  # noqa: F401
