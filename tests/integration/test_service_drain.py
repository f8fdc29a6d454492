"""A drain across doors: what is in flight keeps what it needs, and nothing told is lost."""

import asyncio
import io
import sys
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc.aio import insecure_channel
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from httpx2 import AsyncClient
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from prodkit import Pipeline
from prodkit.service.component import State
from prodkit.service.health import Health
from prodkit.service.service import Service
from prodkit.service.settings import ServiceSettings
from prodkit.telemetry.observe import Observe
from prodkit.telemetry.sink import LineSink
from prodkit.telemetry.telemetry import Telemetry
from prodkit.transports.asgi import PipelineMiddleware
from prodkit.transports.grpc import GrpcServer, open_channel
from prodkit.transports.http_server import HttpServer

sys.path.insert(0, str(Path(__file__).parent))
from rpc_service import SERVICE, Stub, Talk

pytestmark = pytest.mark.anyio


class Shop:
    """An HTTP edge that asks a gRPC service behind it, late in its request."""

    def __init__(self, drain_delay=0.3, drain_timeout=5.0):
        self.spans = InMemorySpanExporter()
        self.log = io.BytesIO()
        telemetry = Telemetry(
            "shop",
            span_processors=[BatchSpanProcessor(self.spans)],
            sample_ratio=1.0,
            log=LineSink(self.log),
        )
        observed = Pipeline(Observe(telemetry))
        self.hold = asyncio.Event()
        self.arrived = asyncio.Event()
        health = Health()
        app = Starlette(routes=[Route("/say", self.say), *health.routes()])
        self.grpc = GrpcServer(Talk().register, pipelines=lambda method: observed)
        self.http = HttpServer(PipelineMiddleware(app, observed))
        settings = ServiceSettings(drain_delay=drain_delay, drain_timeout=drain_timeout)
        self.platform = Service(
            "shop",
            settings=settings,
            servers=[self.http, self.grpc],
            health=health,
            telemetry=telemetry,
        ).platform()

    async def say(self, _):
        self.arrived.set()
        await self.hold.wait()
        channel = open_channel(f"127.0.0.1:{self.grpc.port}")
        try:
            answer = await Stub(channel).say(StringValue(value="late"))
        finally:
            await channel.close()
        return PlainTextResponse(answer.value)

    async def start(self):
        self.running = asyncio.create_task(self.platform.serve())
        while self.platform.state is State.STARTING:
            await asyncio.sleep(0.005)
        assert self.platform.state is State.READY
        self.client = AsyncClient(base_url=f"http://127.0.0.1:{self.http.port}")

    async def stop(self):
        await self.client.aclose()
        if not self.running.done():
            self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)


@pytest.fixture
async def shop():
    shop = Shop()
    await shop.start()
    yield shop
    await shop.stop()


async def test_a_request_in_flight_still_reaches_the_service_behind_it(shop):
    asking = asyncio.create_task(shop.client.get("/say"))
    await shop.arrived.wait()
    shop.platform.drain("test")
    await asyncio.sleep(0.6)  # the delay is over, the edge takes nothing new
    assert not shop.running.done()
    shop.hold.set()
    answer = await asking
    assert (answer.status_code, answer.text) == (200, "said late")
    assert await shop.running == 0


async def test_no_span_and_no_line_is_lost(shop):
    shop.hold.set()
    await shop.client.get("/say")
    shop.platform.drain("test")
    assert await shop.running == 0
    names = {span.name for span in shop.spans.get_finished_spans()}
    assert any("/say" in name for name in names)
    assert any("Say" in name for name in names)
    assert len(shop.log.getvalue().splitlines()) == 2


async def test_readiness_is_withdrawn_everywhere_before_anything_closes(shop):
    async with insecure_channel(f"127.0.0.1:{shop.grpc.port}") as channel:
        watch = HealthStub(channel).Watch(HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == HealthCheckResponse.SERVING
        assert (await shop.client.get("/health/ready")).status_code == 200
        shop.platform.drain("test")
        assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
        unready = await shop.client.get("/health/ready")
        assert unready.status_code == 503
        assert unready.headers["connection"] == "close"
        assert (await shop.client.get("/health/live")).status_code == 200
        assert await shop.running == 0
