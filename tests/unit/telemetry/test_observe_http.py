"""Observe at the real ASGI door: scenario 38, and what a guest app's routing leaves to see."""

import io
import json
import random
import string

import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from prodkit import Pipeline
from prodkit.telemetry import LineSink, Observe, Telemetry
from prodkit.transports.asgi import PipelineMiddleware

pytestmark = pytest.mark.anyio


async def item(request):
    return PlainTextResponse("item")


async def broken(request):
    raise ValueError("password=hunter2")


@pytest.fixture
def stream():
    return io.BytesIO()


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def get(registry, stream):
    routes = [Route("/items/{id:int}", item), Route("/broken", broken)]
    app = Starlette(routes=[*routes, Mount("/shop", routes=routes)])
    telemetry = Telemetry("shop", registry=registry, log=LineSink(stream))
    door = PipelineMiddleware(app, Pipeline(Observe(telemetry)))

    async def request(path, method="GET", headers=()):
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"secret=hunter2",
            "root_path": "",
            "scheme": "http",
            "headers": list(headers),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        await door(scope, receive, send)
        return sent[0]["status"]

    return request


def series(registry):
    return {
        tuple(sample.labels.values()): sample.value
        for family in registry.collect()
        if family.name == "http_requests"
        for sample in family.samples
    }


async def test_ten_thousand_random_requests_make_two_series(get, registry):
    chance = random.Random(38)
    for _ in range(10_000):
        path = "/" + "".join(chance.choices(string.ascii_letters, k=12))
        method = chance.choice(["GET", "".join(chance.choices(string.ascii_uppercase, k=9))])
        assert await get(path, method) == 404
    found = series(registry)
    assert set(found) == {("GET", "_unmatched", "404"), ("_OTHER", "_unmatched", "404")}
    assert sum(found.values()) == 10_000


async def test_templates_count_mounts_in(get, registry):
    for path in ("/items/1", "/items/2", "/shop/items/3"):
        assert await get(path) == 200
    found = series(registry)
    assert found["GET", "/items/{id}", "200"] == 2
    assert sum(found.values()) == 3
    assert len(found) == 2


async def test_queries_are_not_logged_and_errors_are(get, stream):
    await get("/items/1", headers=[(b"x-request-id", b"r-1")])
    assert await get("/broken") == 500
    assert b"hunter2" not in stream.getvalue()
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["request_id"] == "r-1"
    assert first["operation"] == "GET /items/{id}"
    assert (second["level"], second["status"]) == ("error", 500)
    assert second["operation"] == "GET /broken"
    assert "ValueError" in second["exception"]


async def test_a_strangers_trace_goes_on_under_its_id(get, stream):
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    parent = f"00-{trace_id}-b7ad6b7169203331-01".encode()
    for _ in range(20):
        await get("/items/1", headers=[(b"traceparent", parent)])
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {line["trace_id"] for line in lines} == {trace_id}
    assert len({line["span_id"] for line in lines}) == 20
