"""The method options of prodkit, compiled from options.proto beside."""

from prodkit._extras import extra

with extra("grpc", of=__name__):
    import google.protobuf  # noqa: F401
