"""The local door by itself: its pipe, its clock, its refusals at start."""

import asyncio

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from prodkit.errors import ConfigurationError, DeadlineExceededError, UnavailableError
from prodkit.testing import ManualClock
from prodkit.transports.local import LocalChannel, LocalServer
from prodkit.transports.rpc.pipe import Pipe, PipeClosedError

pytestmark = pytest.mark.anyio


def register(function, *, name="test.Local", make=grpc.unary_unary_rpc_method_handler):
    handler = make(function, StringValue.FromString, StringValue.SerializeToString)
    return lambda server: server.add_registered_method_handlers(name, {"Do": handler})


def stub(channel):
    return channel.unary_unary(
        "/test.Local/Do", StringValue.SerializeToString, StringValue.FromString
    )


async def hang(request, context):
    await asyncio.Event().wait()


async def turns():
    """Let every task come to rest."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_pipe_hands_over_in_order_and_ends():
    pipe: Pipe[int] = Pipe()

    async def write():
        for number in range(5):
            await pipe.put(number)
        pipe.close()

    writer = asyncio.create_task(write())
    assert [item async for item in pipe] == [0, 1, 2, 3, 4]
    await writer


async def test_the_pipe_holds_one_message():
    pipe: Pipe[int] = Pipe()
    await pipe.put(1)
    second = asyncio.create_task(pipe.put(2))
    await turns()
    assert not second.done()
    assert await anext(pipe) == 1
    await second
    assert await anext(pipe) == 2


async def test_closing_the_pipe_ends_a_waiting_writer():
    pipe: Pipe[int] = Pipe()
    await pipe.put(1)
    second = asyncio.create_task(pipe.put(2))
    await turns()
    pipe.close()
    with pytest.raises(PipeClosedError):
        await second
    assert [item async for item in pipe] == [1]


async def test_a_writer_that_was_cancelled_leaves_the_pipe_usable():
    pipe: Pipe[int] = Pipe()
    await pipe.put(1)
    second = asyncio.create_task(pipe.put(2))
    await turns()
    second.cancel()
    await turns()
    assert await anext(pipe) == 1
    await pipe.put(3)
    assert await anext(pipe) == 3


async def test_deadlines_follow_the_given_clock():
    clock = ManualClock()
    server = LocalServer(register(hang), clock=clock)
    await server.start()
    call = stub(LocalChannel(server, clock=clock))(StringValue(), timeout=5)
    await clock.advance(4.9)
    assert not call.done()
    assert call.time_remaining() == pytest.approx(0.1)
    await clock.advance(0.2)
    with pytest.raises(DeadlineExceededError):
        await call
    await server.stop(0)


async def test_a_server_that_does_not_serve_is_unavailable():
    async def echo(request, context):
        return request

    server = LocalServer(register(echo))
    call = stub(LocalChannel(server))
    with pytest.raises(UnavailableError):
        await call(StringValue())
    await server.start()
    assert await call(StringValue(value="a")) == StringValue(value="a")
    await server.stop(0)
    with pytest.raises(UnavailableError):
        await call(StringValue())


async def test_a_call_that_a_drain_caught_before_it_ran_is_told():
    server = LocalServer(register(hang))
    await server.start()
    call = stub(LocalChannel(server))(StringValue())
    await asyncio.sleep(0)
    await server.stop(0)
    with pytest.raises(UnavailableError):
        await call


async def test_requests_that_cannot_be_read_are_an_internal_error(caplog):
    async def echo(request, context):
        return request

    server = LocalServer(register(echo))
    await server.start()
    raw = LocalChannel(server).unary_unary("/test.Local/Do", None, None)
    with pytest.raises(Exception, match="internal error"):
        await raw(b"\xff\xff\xff")
    assert "beneath its pipeline" in caplog.text
    await server.stop(0)


async def test_methods_must_be_async():
    with pytest.raises(ConfigurationError, match="must be `async def`"):
        await LocalServer(register(lambda request, context: request)).start()


async def test_a_service_is_registered_once():
    with pytest.raises(ConfigurationError, match="registered twice"):
        await LocalServer(register(hang), register(hang)).start()


async def test_old_generated_code_is_refused():
    def old(server):
        handlers = {"Do": grpc.unary_unary_rpc_method_handler(hang)}
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Old", handlers),)
        )

    with pytest.raises(ConfigurationError, match="its generated code"):
        await LocalServer(old).start()


async def test_methods_left_as_generated_are_unimplemented():
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    server = LocalServer(
        lambda s: health_pb2_grpc.add_HealthServicer_to_server(health_pb2_grpc.HealthServicer(), s)
    )
    await server.start()
    health = health_pb2_grpc.HealthStub(LocalChannel(server))
    with pytest.raises(Exception, match="no such method") as caught:
        await health.Check(health_pb2.HealthCheckRequest())
    assert caught.value.code.name == "UNIMPLEMENTED"
    await server.stop(0)
