"""What a .proto says of its methods, read once at start."""

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
