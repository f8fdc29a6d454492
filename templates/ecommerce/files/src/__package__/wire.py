"""What every service's servicer needs of gRPC and protobuf."""

from __future__ import annotations

from datetime import datetime
from random import SystemRandom
from typing import Any, TypeAlias

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from prodkit.call import Principal, current_call
from prodkit.errors import UnauthenticatedError

#: Handlers learn who calls from `current_call()`; the context is there for the wire's sake.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_random = SystemRandom()


def caller() -> Principal:
    """Return who calls; the contract admits nobody unknown where this is asked."""
    call = current_call()
    if call is None or call.principal is None:
        raise UnauthenticatedError("sign in first", reason="AUTHENTICATION_REQUIRED")
    return call.principal


def new_id(kind: str) -> str:
    """Return `<kind>-` and 80 random bits in hex."""
    return f"{kind}-{_random.getrandbits(80):020x}"


def timestamp(moment: str | datetime) -> Timestamp:
    """Return a moment (ISO 8601 or datetime) as the contract says it."""
    stamp = Timestamp()
    stamp.FromDatetime(datetime.fromisoformat(moment) if isinstance(moment, str) else moment)
    return stamp
