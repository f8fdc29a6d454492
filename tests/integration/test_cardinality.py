"""Scenario 38: whatever strangers ask for, they choose no label of a metric."""

from __future__ import annotations

import random
import string
import sys
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from prodkit import Code, Pipeline, ServiceError
from prodkit.telemetry import Observe, Telemetry
from prodkit.telemetry.sink import LineSink
from prodkit.transports.asgi import PipelineMiddleware

sys.path.insert(0, str(Path(__file__).parent))
from rpc_service import Doors

pytestmark = pytest.mark.anyio
STRANGERS = 10_000


@pytest.fixture
def random_word():
    source = random.Random(38)
    return lambda: "".join(source.choices(string.ascii_letters, k=12))


@pytest.fixture
def telemetry(tmp_path):
    with (tmp_path / "log").open("wb") as stream:
        yield Telemetry("shop", registry=CollectorRegistry(), log=LineSink(stream))


def series(telemetry: Telemetry, counter: str) -> set[tuple[str, ...]]:
    """Return the label sets of a counter; the histogram beside it has the same."""
    return {
        tuple(sample.labels.values())
        for family in telemetry.registry.collect()
        for sample in family.samples
        if sample.name == f"{counter}_total"
    }


@pytest.mark.parametrize(
    ("places", "label"), [(("", "/things/7"), "_unmatched"), (("/shop", "/shop/x"), "/shop/{path}")]
)
async def test_38_paths_and_methods(telemetry, random_word, places, label):
    async def show(request):
        return PlainTextResponse("a thing")

    inner = [Route("/things", show), Route("/things/{id}", show)]
    app = Starlette(routes=[*inner, Mount("/shop", routes=inner)])
    door = PipelineMiddleware(app, Pipeline(Observe(telemetry)))

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        pass

    for number in range(STRANGERS):
        method = "GET" if number % 2 else random_word().upper()
        path = f"{places[number // 2 % 2]}/{random_word()}"
        await door(
            {
                "type": "http",
                "method": method,
                "path": path,
                "raw_path": path.encode(),
                "query_string": random_word().encode(),
                "headers": [(random_word().lower().encode(), random_word().encode())],
            },
            receive,
            send,
        )
    assert series(telemetry, "http_requests") == {
        ("GET", label, "404"),
        ("_OTHER", label, "404"),
    }


@pytest.mark.parametrize(("wire", "strangers"), [("local", STRANGERS), ("grpc", 500)])
async def test_38_rpc_names(telemetry, random_word, wire, strangers):
    doors = Doors(wire)
    await doors.open(unknown=Pipeline(Observe(telemetry)))
    try:
        for _ in range(strangers):
            call = doors.channel.unary_unary(
                f"/{random_word()}.{random_word()}/{random_word()}",
                request_serializer=StringValue.SerializeToString,
                response_deserializer=StringValue.FromString,
            )
            with pytest.raises(ServiceError) as refused:
                await call(StringValue(value="x"))
            assert refused.value.code is Code.UNIMPLEMENTED
    finally:
        await doors.close()
    assert series(telemetry, "rpc_server_requests") == {("_OTHER", "UNIMPLEMENTED")}
