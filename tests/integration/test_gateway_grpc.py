"""The gateway over grpc.aio's own channel, a socket between: any channel will do."""

import asyncio
import json

import grpc
import httpx2
import pytest

from prodkit.contract import Contract
from prodkit.gateway import Gateway
from prodkit.transports.grpc.server import GrpcServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def librarian(library):
    return library.librarian.Librarian()


@pytest.fixture
async def gateway(library, librarian):
    server = GrpcServer(lambda server: library.rpc.add_LibraryServicer_to_server(librarian, server))
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Gateway(Contract.load(library.pb), {"library.v1.Library": channel}, docs=False)
    await server.stop(1)


@pytest.fixture
async def http(gateway):
    transport = httpx2.ASGITransport(gateway)
    async with httpx2.AsyncClient(transport=transport, base_url="http://library") as client:
        yield client


async def test_a_response_and_what_came_with_it(http):
    answer = await http.get("/api/v1/books/7")
    assert (answer.status_code, answer.json()["id"]) == (200, "7")
    assert answer.headers["ratelimit"] == '"default";r=9;t=1'


async def test_an_error_with_its_details(http):
    answer = await http.get("/api/v1/books/away")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "7"
    assert (await http.get("/api/v1/books/missing")).json()["reason"] == "NO_SUCH_BOOK"


async def test_a_stream_that_breaks(http):
    headers = {"authorization": "Bearer t"}
    answer = await http.get("/api/v1/books:watch?limit=3", headers=headers)
    *books, last = [json.loads(line) for line in answer.text.splitlines()]
    assert [book["id"] for book in books] == ["0", "1", "2"]
    assert last["error"]["reason"] == "DARK"


async def test_a_client_that_leaves_cancels_the_call(gateway, librarian):
    inbox = asyncio.Queue()
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/books:watch",
        "query_string": b"limit=7",
        "headers": [(b"authorization", b"Bearer t")],
    }
    sent = []

    async def send(message):
        sent.append(message)

    task = asyncio.ensure_future(gateway(scope, inbox.get, send))
    await librarian.watching.wait()
    inbox.put_nowait({"type": "http.disconnect"})
    await task
    await librarian.cancelled.wait()
    assert b'"error"' not in b"".join(message.get("body", b"") for message in sent)
