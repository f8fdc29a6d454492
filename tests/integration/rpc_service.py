"""A service of four methods, made at run time, and its two doors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.wrappers_pb2 import StringValue

from prodkit import Pipeline
from prodkit.transports.grpc import GrpcServer, MethodInfo, open_channel
from prodkit.transports.local import LocalChannel, LocalServer

SERVICE = "prodkit.test.rpc.Talk"
KINDS = {
    "Say": (False, False),
    "Look": (False, False),
    "Count": (False, True),
    "Join": (True, False),
    "Chat": (True, True),
}


def declare() -> None:
    """Put the service into the default pool, as importing its module would."""
    file = descriptor_pb2.FileDescriptorProto(
        name="prodkit/test/rpc/talk.proto",
        package="prodkit.test.rpc",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    service = file.service.add(name="Talk")
    for name, (client, server) in KINDS.items():
        method = service.method.add(
            name=name,
            input_type=".google.protobuf.StringValue",
            output_type=".google.protobuf.StringValue",
            client_streaming=client,
            server_streaming=server,
        )
        if name == "Look":
            method.options.idempotency_level = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
    descriptor_pool.Default().Add(file)


declare()


class Talk:
    """Answers with what a test gives it; the default says things back."""

    def __init__(self) -> None:
        self.say: Callable[..., Any] = self._say
        self.count: Callable[..., Any] = self._count
        self.cancelled = asyncio.Event()
        self.started = asyncio.Event()

    async def _say(self, request: StringValue, context: Any) -> StringValue:
        return StringValue(value=f"said {request.value}")

    async def _count(self, request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        for number in range(int(request.value)):
            yield StringValue(value=str(number))

    async def Say(self, request, context):  # noqa: N802
        return await self.say(request, context)

    Look = Say

    async def Count(self, request, context):  # noqa: N802
        async for message in self.count(request, context):
            yield message

    async def Join(self, requests, context):  # noqa: N802
        return StringValue(value="+".join([request.value async for request in requests]))

    async def Chat(self, requests, context):  # noqa: N802
        while (request := await context.read()) is not grpc.aio.EOF:
            await context.write(StringValue(value=request.value.upper()))

    async def hang(self, request, context):
        """Wait for ever, and note a cancellation."""
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def hang_after_first(self, request, context):
        """Send one message, then wait for ever."""
        yield StringValue(value="first")
        await self.hang(request, context)

    def register(self, server: Any) -> None:
        """Register as generated code does."""
        handlers = {}
        for name, (client, streams) in KINDS.items():
            kind = f"{'stream' if client else 'unary'}_{'stream' if streams else 'unary'}"
            make = getattr(grpc, f"{kind}_rpc_method_handler")
            handlers[name] = make(
                getattr(self, name),
                request_deserializer=StringValue.FromString,
                response_serializer=StringValue.SerializeToString,
            )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        server.add_registered_method_handlers(SERVICE, handlers)


class Stub:
    """Made as generated stubs are."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        for name, (client, streams) in {**KINDS, "Nothing": (False, False)}.items():
            kind = f"{'stream' if client else 'unary'}_{'stream' if streams else 'unary'}"
            method = getattr(channel, kind)(
                f"/{SERVICE}/{name}",
                request_serializer=StringValue.SerializeToString,
                response_deserializer=StringValue.FromString,
                _registered_method=True,
            )
            setattr(self, name.lower(), method)


def empty(method: MethodInfo) -> Pipeline:
    return Pipeline()


class Doors:
    """A server and a channel to it, over one of the two wires."""

    def __init__(self, wire: str) -> None:
        self.wire = wire
        self.talk = Talk()
        self.server: Any = None
        self.channel: Any = None

    async def open(
        self, inbound=empty, outbound=empty, *, edge=False, unknown=None, **options
    ) -> Stub:
        server_type = GrpcServer if self.wire == "grpc" else LocalServer
        self.server = server_type(self.talk.register, pipelines=inbound, edge=edge, unknown=unknown)
        await self.server.start()
        return self.connect(outbound, **options)

    def connect(self, outbound=empty, **options) -> Stub:
        if self.wire == "grpc":
            self.channel = open_channel(f"127.0.0.1:{self.server.port}", outbound, **options)
        else:
            self.channel = LocalChannel(self.server, outbound, **options)
        return Stub(self.channel)

    async def close(self) -> None:
        if self.channel is not None:
            await self.channel.close()
        if self.server is not None:
            await self.server.stop(0)
