"""The RPC doors of the matrix: gRPC and local, both sides, single messages and streams."""

from __future__ import annotations

from typing import Any

from google.protobuf.wrappers_pb2 import StringValue
from rpc_service import Doors, empty

from doors.base import OK, Answer, Door, failed
from prodkit import Code, Pipeline, ServiceError
from prodkit.transports.grpc import idempotency_key


class Rpc(Door):
    """A method of a gRPC service: one of four, over one of two wires, on one of two sides."""

    wire = "grpc"
    method = "look"
    substitute = staticmethod(lambda text: StringValue(value=text))

    async def open(self, pipeline: Pipeline) -> None:
        self.doors = Doors(self.wire)
        self.doors.talk.say = self._say
        self.doors.talk.count = self._count

        def on(method: Any) -> Pipeline:
            own = method.full_name.endswith(f"/{self.method.capitalize()}")
            return pipeline if own else Pipeline()

        sides = (on, empty) if self.inbound else (empty, on)
        self.stub = await self.doors.open(*sides)

    async def _say(self, request: StringValue, context: Any) -> StringValue:
        self.left = context.time_remaining()
        return StringValue(value=await self.work())

    async def _count(self, request: StringValue, context: Any) -> Any:
        yield await self._say(request, context)

    async def ask(self, key: str | None = None) -> Answer:
        if key is None:
            return await self._ask()
        with idempotency_key(key):
            return await self._ask()

    async def _ask(self) -> Answer:
        call = getattr(self.stub, self.method)(StringValue(value="1"))
        try:
            value = await self._read(call)
        except ServiceError as error:
            return failed(error)
        return Answer(OK, Code.OK, value, told=dict(await call.trailing_metadata() or ()))

    async def _read(self, call: Any) -> str:
        value: str = (await call).value
        return value

    async def close(self) -> None:
        if hasattr(self, "doors"):
            await self.doors.close()


class RpcStream(Rpc):
    """One request, a stream of responses."""

    method = "count"

    async def _read(self, call: Any) -> str:
        return "+".join([message.value async for message in call])


class GrpcIn(Rpc):
    """A gRPC server, a method that is not declared safe."""

    method = "say"


class GrpcInStream(RpcStream):
    """A gRPC server, a streaming method."""


class LocalIn(Rpc):
    """A local server, a method that is not declared safe."""

    wire = "local"
    method = "say"


class GrpcOut(Rpc):
    """A gRPC channel, a method that is declared safe."""

    inbound = False


class GrpcOutStream(RpcStream):
    """A gRPC channel, a streaming method."""

    inbound = False


class LocalOut(Rpc):
    """A local channel, a method that is declared safe."""

    wire = "local"
    inbound = False
