"""What the gRPC server has beyond the battery: health, reflection, its port."""

import asyncio
import subprocess
import sys

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from prodkit import Pipeline
from prodkit.errors import NotFoundError, UnavailableError
from prodkit.transports.grpc import GrpcServer, open_channel

pytestmark = pytest.mark.anyio
SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def server():
    server = GrpcServer(reflect=True)
    await server.start()
    yield server
    await server.stop(0)


@pytest.fixture
async def channel(server):
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


async def test_health_is_served_without_a_pipeline(server, channel):
    stub = HealthStub(channel)
    assert (await stub.Check(HealthCheckRequest())).status == SERVING
    with pytest.raises(NotFoundError):
        await stub.Check(HealthCheckRequest(service="no.Such"))


async def test_watchers_hear_not_serving_while_calls_are_still_answered(server, channel):
    stub = HealthStub(channel)
    watch = stub.Watch(HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    await server.quiesce()
    assert (await asyncio.wait_for(watch.read(), 5)).status == NOT_SERVING
    assert (await stub.Check(HealthCheckRequest())).status == NOT_SERVING


async def test_a_watcher_does_not_hold_the_drain_up(server, channel):
    watch = HealthStub(channel).Watch(HealthCheckRequest())
    await watch.read()
    await server.quiesce()
    await asyncio.wait_for(watch.read(), 5)
    await asyncio.wait_for(server.stop(60), 5)
    with pytest.raises(UnavailableError):
        await watch.read()


async def test_reflection_lists_the_services(channel):
    stub = ServerReflectionStub(channel)
    requests = [ServerReflectionRequest(list_services="")]
    answers = [answer async for answer in stub.ServerReflectionInfo(requests)]
    names = {service.name for service in answers[0].list_services_response.service}
    assert "grpc.health.v1.Health" in names


async def test_a_taken_port_fails_the_start(server):
    second = GrpcServer(port=server.port)
    with pytest.raises(RuntimeError):
        await second.start()


async def test_wait_returns_when_the_server_has_stopped(server):
    waiting = asyncio.create_task(server.wait())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await server.stop(0)
    await asyncio.wait_for(waiting, 5)


async def test_nothing_listens_where_nothing_listens():
    async with open_channel("127.0.0.1:1", lambda _: Pipeline()) as channel:
        with pytest.raises(UnavailableError):
            await HealthStub(channel).Check(HealthCheckRequest(), timeout=5)


def test_the_extra_is_named_where_it_is_missing():
    script = (
        "import sys\n"
        "sys.modules['grpc_health'] = None\n"
        "try:\n"
        "    import prodkit.transports.grpc\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "needs the grpc extra" in done.stdout
    assert "prodkit-services[grpc]" in done.stdout


def test_a_channel_opened_before_the_loop_works_in_it() -> None:
    channel = open_channel("127.0.0.1:1")
    call = channel.unary_unary("/nobody.Service/Method")

    async def use() -> None:
        with pytest.raises(UnavailableError):
            await call(b"", timeout=5.0)
        await channel.close()

    asyncio.run(use())
