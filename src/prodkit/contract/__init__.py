"""What a .proto says of its methods, read once at start."""

from prodkit._extras import extra

with extra("grpc", of=__name__):
    import google.protobuf  # noqa: F401
    import protovalidate  # noqa: F401

from prodkit.contract.access import IdempotencyKey, RateOption, SloOption
from prodkit.contract.bindings import HttpBinding
from prodkit.contract.method import Contract, MethodContract
from prodkit.contract.validation import Validate, validate

__all__ = [
    "Contract",
    "HttpBinding",
    "IdempotencyKey",
    "MethodContract",
    "RateOption",
    "SloOption",
    "Validate",
    "validate",
]
