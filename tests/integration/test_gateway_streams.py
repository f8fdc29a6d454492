"""Streams through the gateway, driven at the level of ASGI: disconnects are the point."""

import asyncio
import json

import pytest

from prodkit.contract import Contract
from prodkit.errors import ServiceError
from prodkit.gateway import Gateway
from prodkit.pipeline import Pipeline
from prodkit.transports.asgi import PipelineMiddleware
from prodkit.transports.local import LocalChannel, LocalServer

pytestmark = pytest.mark.anyio


class Client:
    """One request; `sent` is what the app sent, `leave()` the client's departure."""

    def __init__(self, app, limit, accept="", verb="GET"):
        headers = [(b"authorization", b"Bearer t"), (b"accept", accept.encode())]
        scope = {
            "type": "http",
            "method": verb,
            "path": "/api/v1/books:watch",
            "raw_path": b"/api/v1/books:watch",
            "query_string": f"limit={limit}".encode(),
            "headers": headers,
        }
        self.sent = []
        self._inbox = asyncio.Queue()
        self._inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self.arrived = asyncio.Event()
        self.task = asyncio.ensure_future(app(scope, self._inbox.get, self._send))

    async def _send(self, message):
        self.sent.append(message)
        self.arrived.set()

    def leave(self):
        self._inbox.put_nowait({"type": "http.disconnect"})

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return dict(self.sent[0]["headers"])

    @property
    def body(self):
        return b"".join(message["body"] for message in self.sent[1:])


@pytest.fixture
async def librarian(library):
    return library.librarian.Librarian()


@pytest.fixture
async def make(library, librarian):
    server = LocalServer(
        lambda server: library.rpc.add_LibraryServicer_to_server(librarian, server)
    )
    await server.start()
    channel = LocalChannel(server)

    def make(heartbeat=15.0):
        channels = {"library.v1.Library": channel}
        gateway = Gateway(Contract.load(library.pb), channels, heartbeat=heartbeat, docs=False)
        return PipelineMiddleware(gateway, Pipeline())

    yield make
    await channel.close()
    await server.stop(1)


async def test_json_lines(make):
    client = Client(make(), 2)
    await client.task
    assert client.status == 200
    assert client.headers[b"content-type"] == b"application/x-ndjson"
    assert [json.loads(line)["id"] for line in client.body.splitlines()] == ["0", "1"]
    assert client.sent[-1]["more_body"] is False


async def test_server_sent_events(make):
    client = Client(make(), 2, "text/event-stream")
    await client.task
    assert client.headers[b"content-type"] == b"text/event-stream"
    assert client.headers[b"cache-control"] == b"no-store"
    first, second, rest = client.body.split(b"\n\n")
    assert first.startswith(b"event: message\ndata: {")
    assert json.loads(second.partition(b"data: ")[2])["id"] == "1"
    assert rest == b""


async def test_an_empty_stream_is_an_empty_body(make):
    client = Client(make(), 0)
    await client.task
    assert (client.status, client.body) == (200, b"")


async def test_an_error_before_the_first_message_is_a_status(make):
    client = Client(make(), -1, "text/event-stream")
    await client.task
    assert client.status == 503
    assert client.headers[b"content-type"] == b"application/problem+json"


@pytest.mark.parametrize("accept", ["text/event-stream", "*/*"])
async def test_an_error_after_it_is_a_frame_of_its_own(make, accept):
    client = Client(make(), 3, accept)
    await client.task
    assert client.status == 200
    if accept == "*/*":
        problem = json.loads(client.body.splitlines()[-1])["error"]
    else:
        kind, _, data = client.body.split(b"\n\n")[-2].partition(b"\n")
        assert kind == b"event: error"
        problem = json.loads(data.removeprefix(b"data: "))
    assert (problem["status"], problem["reason"]) == (503, "DARK")
    assert client.sent[-1]["more_body"] is False


async def test_the_pipeline_sees_the_late_error(library, librarian, make):
    seen = []

    async def note(call, proceed):
        try:
            return await proceed(call)
        except ServiceError as error:
            seen.append((call.operation, call.streaming, error.reason))
            raise

    app = make()
    client = Client(PipelineMiddleware(app.app, Pipeline(note)), 3)
    await client.task
    assert seen == [("GET /api/v1/books:watch", True, "DARK")]


async def test_a_client_that_leaves_cancels_the_call(make, librarian):
    client = Client(make(), 7)
    await librarian.watching.wait()
    client.leave()
    await client.task
    await librarian.cancelled.wait()
    assert b"error" not in client.body


async def test_a_client_that_leaves_before_the_first_message_too(make, librarian):
    client = Client(make(), -2)
    await librarian.watching.wait()
    client.leave()
    await client.task
    await librarian.cancelled.wait()


async def test_a_request_that_is_cancelled_cancels_the_call(make, librarian):
    client = Client(make(), 7)
    await librarian.watching.wait()
    client.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client.task
    await librarian.cancelled.wait()


async def test_silence_is_broken_by_comments(make, librarian):
    client = Client(make(heartbeat=0.01), 7, "text/event-stream")
    await librarian.watching.wait()
    while not client.body.endswith(b":\n\n:\n\n"):
        client.arrived.clear()
        await client.arrived.wait()
    librarian.more.set()
    await client.task
    assert b'"id":"more"' in client.body


async def test_head_opens_no_stream(make, librarian):
    client = Client(make(), 7, verb="HEAD")
    await client.task
    assert (client.status, client.body, librarian.requests) == (200, b"", [])
