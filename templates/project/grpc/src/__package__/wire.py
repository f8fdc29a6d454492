"""What every service's servicer needs of gRPC and protobuf."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

#: Handlers learn who calls from `current_call()`; the context is there for the wire's sake.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def timestamp(moment: str | datetime) -> Timestamp:
    """Return a moment (ISO 8601 or datetime) as the contract says it."""
    stamp = Timestamp()
    stamp.FromDatetime(datetime.fromisoformat(moment) if isinstance(moment, str) else moment)
    return stamp
