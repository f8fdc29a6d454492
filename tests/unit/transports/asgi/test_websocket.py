"""Websockets at the ASGI door: one streaming call each, refused before they are accepted."""

import asyncio
import json

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute

from prodkit import Code, Pipeline
from prodkit.errors import OverloadedError, PermissionDeniedError
from prodkit.transports.asgi import PipelineMiddleware

pytestmark = pytest.mark.anyio


class Socket:
    """The server's end of one websocket."""

    def __init__(self, *events, path="/ws/7", extensions=("websocket.http.response",)):
        self.sent = []
        self.events = [{"type": "websocket.connect"}, *events]
        self.scope = {
            "type": "websocket",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"x-request-id", b"r-1")],
            "subprotocols": [],
            "client": ("192.0.2.7", 1),
            "extensions": {name: {} for name in extensions},
        }

    async def receive(self):
        if not self.events:
            await asyncio.Event().wait()
        return self.events.pop(0)

    async def send(self, message):
        self.sent.append(message)

    def kinds(self):
        return [message["type"] for message in self.sent]


def received(text):
    return {"type": "websocket.receive", "text": text}


def left(code):
    return {"type": "websocket.disconnect", "code": code}


async def echo(websocket: WebSocket):
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


async def early(websocket: WebSocket):
    await websocket.close()


async def broken(websocket: WebSocket):
    await websocket.accept()
    raise RuntimeError("secret")


async def closing(websocket: WebSocket):
    await websocket.accept()
    await websocket.close(1011)


def app() -> Starlette:
    return Starlette(
        routes=[
            WebSocketRoute("/ws/{room}", echo),
            WebSocketRoute("/early", early),
            WebSocketRoute("/broken", broken),
            WebSocketRoute("/closing", closing),
            Mount("/in/{tenant}", routes=[WebSocketRoute("/ws/{room}", echo)]),
        ]
    )


class Watch:
    async def __call__(self, call, proceed):
        self.call, self.error, self.first = call, None, False
        call.on_first_message(lambda: setattr(self, "first", True))
        try:
            return await proceed(call)
        except Exception as error:
            self.error = error
            raise


async def serve(socket, *members, guest=None):
    watch = Watch()
    middleware = PipelineMiddleware(guest or app(), Pipeline(watch, *members))
    await middleware(socket.scope, socket.receive, socket.send)
    return watch


async def test_a_websocket_is_one_streaming_call():
    async def annotate(call, proceed):
        call.annotate("RateLimit", "r=1")
        await proceed(call)

    socket = Socket(received("hi"), left(1000))
    watch = await serve(socket, annotate)
    assert socket.kinds() == ["websocket.accept", "websocket.send"]
    assert (b"x-request-id", b"r-1") in socket.sent[0]["headers"]
    assert (b"ratelimit", b"r=1") in socket.sent[0]["headers"]
    assert watch.call.transport == "websocket"
    assert watch.call.operation == "GET /ws/{room}"
    assert watch.first
    assert watch.call.streaming
    assert (watch.call.status, watch.call.code, watch.error) == (101, Code.OK, None)


async def test_a_connection_that_breaks_is_neither_success_nor_failure():
    watch = await serve(Socket(left(1006)))
    assert watch.error.code is Code.CANCELLED


async def test_the_template_goes_through_mounts_and_included_routers():
    watch = await serve(Socket(left(1000), path="/in/7/ws/8"))
    assert watch.call.operation == "GET /in/{tenant}/ws/{room}"
    router = APIRouter(prefix="/live")
    router.add_api_websocket_route("/{room}", echo)
    api = FastAPI()
    api.include_router(router, prefix="/api")
    watch = await serve(Socket(left(1000), path="/api/live/8"), guest=api)
    assert watch.call.operation == "GET /api/live/{room}"


async def refuse(call, proceed):
    raise OverloadedError(
        "full", call=call, policy="shedder", measured=2, threshold=1, retry_after=3
    )


async def test_a_refusal_before_acceptance_is_a_problem():
    socket = Socket()
    watch = await serve(socket, refuse)
    start, body = socket.sent
    assert start["type"] == "websocket.http.response.start"
    assert start["status"] == watch.call.status == 503
    assert dict(start["headers"])[b"retry-after"] == b"3"
    assert dict(start["headers"])[b"x-request-id"] == b"r-1"
    assert json.loads(body["body"])["policy"] == "shedder"


@pytest.mark.parametrize(
    ("refusal", "code"), [(refuse, 1013), (PermissionDeniedError("no", reason="NO"), 1008)]
)
async def test_a_server_without_that_extension_gets_a_close(refusal, code):
    async def deny(call, proceed):
        raise refusal

    socket = Socket(extensions=())
    await serve(socket, deny if isinstance(refusal, Exception) else refusal)
    assert socket.kinds() == ["websocket.close"]
    assert socket.sent[0]["code"] == code


async def test_a_guest_that_closes_at_once_is_a_403():
    socket = Socket(path="/early")
    watch = await serve(socket)
    assert socket.kinds() == ["websocket.close"]
    assert (watch.call.status, watch.call.code) == (403, Code.PERMISSION_DENIED)


async def test_an_error_after_acceptance_closes_with_1011_and_tells_nothing():
    socket = Socket(path="/broken")
    watch = await serve(socket)
    assert socket.kinds() == ["websocket.accept", "websocket.close"]
    assert (socket.sent[1]["code"], socket.sent[1]["reason"]) == (1011, "")
    assert isinstance(watch.error, RuntimeError)


async def test_the_guests_close_code_becomes_the_code_of_the_call():
    watch = await serve(Socket(path="/closing"))
    assert watch.call.code is Code.INTERNAL


async def test_a_guest_that_never_answers_is_refused_for_it():
    async def silent(scope, receive, send):
        return

    socket = Socket()
    await serve(socket, guest=silent)
    assert socket.sent[0]["status"] == 500
