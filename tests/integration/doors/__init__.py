"""The doors of the matrix: each asks the same work through a pipeline, and says how it ended."""

from doors.base import AWAY, OK, Answer, Door, Function, Work
from doors.http import HttpIn, HttpOut, WebsocketIn
from doors.messages import Messages
from doors.rpc import (
    GrpcIn,
    GrpcInStream,
    GrpcOut,
    GrpcOutStream,
    LocalIn,
    LocalOut,
    Rpc,
)

__all__ = [
    "AWAY",
    "DOORS",
    "OK",
    "Answer",
    "Door",
    "Function",
    "Messages",
    "Rpc",
    "WebsocketIn",
    "Work",
]

DOORS: dict[str, type[Door]] = {
    "http in": HttpIn,
    "websocket in": WebsocketIn,
    "grpc in": GrpcIn,
    "grpc in, stream": GrpcInStream,
    "local in": LocalIn,
    "messages": Messages,
    "function": Function,
    "http out": HttpOut,
    "grpc out": GrpcOut,
    "grpc out, stream": GrpcOutStream,
    "local out": LocalOut,
}
