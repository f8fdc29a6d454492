"""Bulkhead and load shedder in front of gRPC methods, on both wires."""

import asyncio
import sys
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from prodkit import Pipeline
from prodkit.errors import ConfigurationError, UnavailableError
from prodkit.policies.bulkhead import Bulkhead
from prodkit.policies.load_shedder import LoadShedder

sys.path.insert(0, str(Path(__file__).parent))
from rpc_service import Doors

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["grpc", "local"])
async def doors(request):
    pair = Doors(request.param)
    yield pair
    await pair.close()


def text(value):
    return StringValue(value=value)


class Held:
    """A handler whose calls the test lets end."""

    def __init__(self, doors):
        self.inside, self.release = 0, asyncio.Event()
        doors.talk.say, doors.talk.count = self.say, self.count

    async def say(self, request, context):
        self.inside += 1
        await self.release.wait()
        return request

    async def count(self, request, context):
        yield text("first")
        self.inside += 1
        await self.release.wait()
        yield text("last")

    async def until(self, inside):
        while self.inside < inside:
            await asyncio.sleep(0.001)


async def refused(call):
    with pytest.raises(UnavailableError) as caught:
        await call
    return caught.value, dict(await call.trailing_metadata())


async def test_a_full_server_pushes_back(doors):
    shedder = LoadShedder(floor=1, initial=1, ceiling=1)
    stub = await doors.open(lambda _: Pipeline(shedder))
    held = Held(doors)
    running = asyncio.ensure_future(stub.say(text("a")))
    await held.until(1)
    error, trailers = await refused(stub.say(text("b")))
    assert error.reason == "OVERLOADED"
    assert error.metadata["policy"] == "load_shedder"
    assert int(trailers["grpc-retry-pushback-ms"]) == 100
    held.release.set()
    assert (await running).value == "a"
    assert shedder.in_flight == 0


async def test_a_stream_holds_its_place_in_a_bulkhead_to_its_end_and_in_a_shedder_to_its_start(
    doors,
):
    shedder = LoadShedder(floor=1, initial=1, ceiling=1)
    bulkhead = Bulkhead("talk", limit=1)
    stub = await doors.open(lambda _: Pipeline(shedder, bulkhead))
    held = Held(doors)
    stream = stub.count(text("2"))
    messages = aiter(stream)
    assert (await anext(messages)).value == "first"
    await held.until(1)
    assert (shedder.in_flight, bulkhead.running) == (0, 1)
    error, _ = await refused(stub.say(text("b")))
    assert error.reason == "BULKHEAD_FULL"
    held.release.set()
    assert [m.value async for m in messages] == ["last"]
    while bulkhead.running:
        await asyncio.sleep(0.001)
    assert shedder.in_flight == 0


async def test_a_cancelled_stream_gives_its_place_back(doors):
    bulkhead = Bulkhead("talk", limit=1)
    stub = await doors.open(lambda _: Pipeline(bulkhead))
    held = Held(doors)
    stream = stub.count(text("2"))
    assert (await anext(aiter(stream))).value == "first"
    await held.until(1)
    stream.cancel()
    while bulkhead.running:
        await asyncio.sleep(0.001)


async def test_what_goes_out_waits_in_a_bulkhead_and_has_no_shedder(doors):
    with pytest.raises(ConfigurationError, match="sheds what comes in"):
        await doors.open(outbound=lambda _: Pipeline(LoadShedder()))
    bulkhead = Bulkhead("talk", limit=1, queue=1)
    stub = doors.connect(lambda _: Pipeline(bulkhead))
    held = Held(doors)
    running = [asyncio.ensure_future(stub.say(text(word))) for word in "ab"]
    await held.until(1)
    assert (bulkhead.running, bulkhead.waiting) == (1, 1)
    held.release.set()
    assert [message.value for message in await asyncio.gather(*running)] == ["a", "b"]
