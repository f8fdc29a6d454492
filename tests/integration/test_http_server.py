"""HttpServer as a component: it starts, drains, stops within its grace, leaves nothing behind."""

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from contextvars import ContextVar

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from prodkit import Pipeline
from prodkit.errors import OverloadedError
from prodkit.transports.asgi import PipelineMiddleware
from prodkit.transports.http_server import HttpServer
from prodkit.transports.http_server.lifespan import LifespanError

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request):
    return "asyncio", {"use_uvloop": request.param}


class Shop:
    """A guest whose requests the test holds in its hand."""

    def __init__(self, *members):
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.log: list[str] = []
        routes = [
            Route("/", self.hello),
            Route("/slow", self.slow),
            Route("/events", self.events),
            Route("/stubborn", self.stubborn),
            WebSocketRoute("/ws", self.socket),
        ]
        starlette = Starlette(routes=routes, lifespan=self.lifespan)
        self.app = PipelineMiddleware(starlette, Pipeline(*members))

    @asynccontextmanager
    async def lifespan(self, app):
        self.log.append("opened")
        yield {"pool": "open"}
        self.log.append("closed")

    async def hello(self, request):
        return PlainTextResponse(f"pool {request.state.pool}")

    async def slow(self, request):
        self.entered.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            self.log.append("cleaned up")
            raise
        return PlainTextResponse("done")

    async def stubborn(self, request):
        self.entered.set()
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.log.append("ignored")
        return PlainTextResponse("done")

    async def events(self, request):
        async def stream():
            try:
                yield "data: 1\n\n"
                self.entered.set()
                await self.release.wait()
            finally:
                self.log.append("told")

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def socket(self, websocket):
        await websocket.accept()
        while True:
            await websocket.send_text(await websocket.receive_text())


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
async def server(shop):
    server = HttpServer(shop.app)
    await server.start()
    yield server
    shop.release.set()
    await server.stop(1)


@pytest.fixture
async def client(server):
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        yield client


async def test_it_serves_on_a_free_port_with_the_guests_state(client, server, shop):
    assert server.port > 0
    response = await client.get("/")
    assert response.text == "pool open"
    assert "date" in response.headers
    assert "server" not in response.headers
    assert shop.log == ["opened"]


async def test_two_servers_on_one_loop(server, shop):
    other = HttpServer(shop.app, name="second")
    await other.start()
    assert other.port != server.port
    async with httpx2.AsyncClient() as client:
        for port in (server.port, other.port):
            assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 200
        await other.stop(1)
        assert (await client.get(f"http://127.0.0.1:{server.port}/")).status_code == 200


async def test_a_taken_port_is_an_error_and_ends_the_lifespan(server):
    shop = Shop()
    other = HttpServer(shop.app, port=server.port)
    with pytest.raises(OSError, match="address"):
        await other.start()
    assert shop.log == ["opened", "closed"]


async def test_drain_announces_itself_and_keeps_serving(client, server, shop):
    async with asyncio.TaskGroup() as group:
        running = group.create_task(client.get("/slow"))
        await shop.entered.wait()
        server.quiesce()
        shop.release.set()
    assert running.result().headers["connection"] == "close"
    response = await client.get("/")
    assert (response.status_code, response.headers["connection"]) == (200, "close")


async def test_stop_finishes_what_is_in_flight_and_then_the_lifespan(client, server, shop):
    request = asyncio.create_task(client.get("/slow"))
    await shop.entered.wait()
    stop = asyncio.create_task(server.stop(5))
    await asyncio.sleep(0.02)
    assert not stop.done()
    with pytest.raises(httpx2.ConnectError):
        await httpx2.AsyncClient().get(f"http://127.0.0.1:{server.port}/")
    shop.release.set()
    assert (await request).text == "done"
    await stop
    await server.wait()
    assert shop.log == ["opened", "closed"]


async def test_what_does_not_finish_is_cancelled_awaited_and_answered(client, server, shop, caplog):
    request = asyncio.create_task(client.get("/slow"))
    await shop.entered.wait()
    began = time.monotonic()
    await server.stop(0.1)
    assert time.monotonic() - began < 1.5
    assert shop.log == ["opened", "cleaned up", "closed"]
    response = await request
    assert response.status_code == 503
    assert response.json()["reason"] == "SHUTTING_DOWN"
    assert "Traceback" not in caplog.text


async def test_a_stop_that_is_cancelled_cuts_at_once(client, server, shop):
    request = asyncio.create_task(client.get("/slow"))
    await shop.entered.wait()
    stop = asyncio.create_task(server.stop(30))
    await asyncio.sleep(0.02)
    began = time.monotonic()
    stop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stop
    assert time.monotonic() - began < 1.5
    assert shop.log == ["opened", "cleaned up", "closed"]
    assert (await request).status_code == 503


async def test_a_handler_that_ignores_cancellation_is_named(client, server, shop, caplog):
    request = asyncio.create_task(client.get("/stubborn"))
    await shop.entered.wait()
    await server.stop(0.05)
    assert "does not end" in caplog.text
    with pytest.raises(httpx2.TransportError):
        await request


async def test_an_event_stream_is_sent_off_at_once(client, server, shop):
    began = time.monotonic()
    headers = {"accept": "text/event-stream"}
    async with client.stream("GET", "/events", headers=headers) as response:
        lines = response.aiter_lines()
        assert await anext(lines) == "data: 1"
        await server.stop(30)
    assert time.monotonic() - began < 5
    assert shop.log == ["opened", "told", "closed"]


async def test_a_websocket_works_and_is_closed_with_1012(server, shop):
    async with connect(f"ws://127.0.0.1:{server.port}/ws") as websocket:
        assert "x-request-id" in websocket.response.headers
        await websocket.send("hi")
        assert await websocket.recv() == "hi"
        await server.stop(5)
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
    assert closed.value.rcvd.code == 1012
    assert shop.log == ["opened", "closed"]


async def test_connections_leave_no_query_string_in_the_logs(client, server, caplog):
    caplog.set_level(logging.DEBUG)
    await client.get("/?token=canary")
    async with connect(f"ws://127.0.0.1:{server.port}/ws?token=canary"):
        pass
    said = [r for r in caplog.records if not r.name.startswith(("httpx", "httpcore", "websockets"))]
    assert "canary" not in " ".join(record.getMessage() for record in said)


async def test_a_websocket_during_the_drain_still_opens(server):
    server.quiesce()
    async with connect(f"ws://127.0.0.1:{server.port}/ws") as websocket:
        await websocket.send("hi")
        assert await websocket.recv() == "hi"


async def test_a_refused_websocket_reads_as_a_problem():
    async def refuse(call, proceed):
        raise OverloadedError(
            "full", call=call, policy="shedder", measured=2, threshold=1, retry_after=3
        )

    server = HttpServer(Shop(refuse).app)
    await server.start()
    try:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://127.0.0.1:{server.port}/ws"):
                pass
    finally:
        await server.stop(1)
    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["retry-after"] == "3"
    assert b"shedder" in refused.value.response.body


async def test_idle_connections_do_not_hold_the_stop_up(client, server):
    await client.get("/")
    began = time.monotonic()
    await server.stop(30)
    assert time.monotonic() - began < 5


async def test_no_request_inherits_the_context_of_another(server):
    leak: ContextVar[str] = ContextVar("leak", default="clean")
    seen = []

    async def guest(scope, receive, send):
        assert scope["type"] == "http"  # it knows no lifespan, and need not
        seen.append(leak.get())
        leak.set("dirty")
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    other = HttpServer(guest)
    await other.start()
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{other.port}") as client:
        for _ in range(3):
            await client.get("/")
    await other.stop(1)
    assert seen == ["clean"] * 3


async def test_a_guest_that_cannot_start_says_so():
    async def guest(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(LifespanError, match="no database"):
        await HttpServer(guest).start()


async def test_a_guest_that_hangs_in_its_shutdown_is_cut_off():
    async def guest(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await asyncio.Event().wait()

    server = HttpServer(guest)
    await server.start()
    with pytest.raises(LifespanError, match="longer"):
        await server.stop(0.1)


@pytest.mark.parametrize("option", ["header_limit", "header_timeout", "idle_timeout"])
async def test_options_that_cannot_be_meant_name_themselves(shop, option):
    with pytest.raises(ValueError, match=option):
        HttpServer(shop.app, **{option: 0})
