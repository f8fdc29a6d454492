"""Scenarios 45 and 46 on raw sockets: what the server answers to framing, size and slowness."""

import asyncio
import json
import socket
import struct
import time
import tracemalloc

import pytest

from prodkit import Pipeline
from prodkit.transports.asgi import PipelineMiddleware
from prodkit.transports.http_server import HttpServer

pytestmark = pytest.mark.anyio

served: list[str] = []


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request):
    return "asyncio", {"use_uvloop": request.param}


async def guest(scope, receive, send):
    """Answer with the length of the body, and remember that it was asked."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    served.append(scope["path"])
    body = b"%d" % size
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def server():
    served.clear()
    app = PipelineMiddleware(guest, Pipeline(), body_limit=1 << 20, body_timeout=0.3)
    server = HttpServer(app, header_limit=4096, header_timeout=0.3, idle_timeout=0.3)
    await server.start()
    yield server
    await server.stop(1)


class Raw:
    """A client that says exactly what it is told."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, server):
        return cls(*await asyncio.open_connection("127.0.0.1", server.port))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 3)
        status, *lines = head.decode().strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(status.split()[1]), headers, body

    async def closed(self) -> bytes:
        """Return what else comes until the server closes."""
        return await asyncio.wait_for(self.reader.read(), 3)


@pytest.fixture
async def raw(server):
    client = await Raw.to(server)
    yield client
    client.writer.close()


REFUSED = {
    "length and chunked": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
    b"Content-Length: 5\r\n\r\nabcde",
    "a list of lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nabcd",
    "bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare LF after a field": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\nY: c\r\n\r\n",
    "folded field": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n",
    "NUL in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\nX: a\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "a coding that is not chunked": b"POST / HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    # Beyond the twelve
    "a coding before chunked": b"POST / HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "a Host that is none": b"GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "CONNECT": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a handshake with a body": b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
    b"Connection: upgrade\r\nContent-Length: 3\r\n\r\nabc",
    "a target that is none": b"GET ? HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("case", REFUSED)
async def test_46_framing_in_doubt_is_refused_and_the_connection_closed(raw, case):
    raw.send(REFUSED[case])
    status, headers, body = await raw.response()
    assert status == 400
    assert headers["connection"] == "close"
    assert json.loads(body)["reason"] == "MALFORMED_REQUEST"
    assert await raw.closed() == b""
    assert served == []


async def test_46_a_broken_chunk_is_refused_though_the_guest_already_runs(raw):
    raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    raw.send(b"3\r\nabc\r\nzz\r\n")
    status, _, _ = await raw.response()
    assert status == 400
    assert await raw.closed() == b""


async def test_46_old_clients_are_served_and_closed(raw):
    raw.send(b"GET /old HTTP/1.0\r\n\r\n")
    status, headers, _ = await raw.response()
    assert (status, headers["connection"]) == (200, "close")
    assert await raw.closed() == b""


async def test_46_a_smuggled_request_is_never_served(raw):
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    raw.send(REFUSED["length and chunked"] + smuggled)
    assert (await raw.response())[0] == 400
    assert await raw.closed() == b""
    assert served == []


async def test_a_broken_request_behind_a_good_one_does_not_spoil_its_answer(raw):
    raw.send(b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n" + REFUSED["no Host"])
    status, headers, body = await raw.response()
    assert (status, body) == (200, b"0")
    assert headers["connection"] == "close"
    assert await raw.closed() == b""
    assert served == ["/good"]


async def test_pipelined_requests_are_answered_in_order(raw):
    for size in range(3):
        head = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (size, size)
        raw.send(head + b"x" * size)
    assert [(await raw.response())[2] for _ in range(3)] == [b"0", b"1", b"2"]


async def test_a_trailer_becomes_no_header(server):
    seen = []

    async def look(scope, receive, send):
        while (await receive())["more_body"]:
            pass
        seen.append([name for name, _ in scope["headers"]])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    other = HttpServer(look)
    await other.start()
    try:
        client = await Raw.to(other)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"1\r\na\r\n0\r\nAuthorization: forged\r\n\r\n")
        assert (await client.response())[0] == 204
        assert seen == [[b"host", b"transfer-encoding"]]
        client.writer.close()
    finally:
        await other.stop(1)


async def test_an_upgrade_that_is_not_offered_is_served_and_closed(raw):
    raw.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    status, headers, _ = await raw.response()
    assert (status, headers["connection"]) == (200, "close")
    assert await raw.closed() == b""


async def test_45_headers_over_the_limit_are_431(raw):
    raw.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: %s\r\n" % (b"x" * 100) * 60 + b"\r\n")
    status, _, body = await raw.response()
    assert status == 431
    assert json.loads(body)["reason"] == "HEADERS_TOO_LARGE"
    assert await raw.closed() == b""


async def test_45_one_endless_header_is_431_and_not_collected(raw):
    raw.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    await asyncio.sleep(0.01)
    tracemalloc.start()
    try:
        for _ in range(64):
            raw.send(b"x" * (1 << 16))
            await asyncio.sleep(0)
        assert (await raw.response())[0] == 431
        assert await raw.closed() == b""
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20
    assert served == []


async def test_45_slow_headers_are_408(raw):
    began = time.monotonic()
    raw.send(b"GET / HTTP/1.1\r\n")
    for _ in range(3):
        await asyncio.sleep(0.05)
        raw.send(b"X: y\r\n")
    status, _, body = await raw.response()
    assert status == 408
    assert json.loads(body)["reason"] == "HEADERS_TIMEOUT"
    assert await raw.closed() == b""
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("first", [b"", b"\r\n"])
async def test_45_a_silent_connection_is_closed(raw, first):
    raw.send(first)
    assert await raw.closed() == b""


async def test_45_an_idle_connection_is_closed(raw):
    raw.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await raw.response())[0] == 200
    raw.send(b"\r\n")
    assert await raw.closed() == b""


async def test_who_left_before_being_accepted_is_not_served(server):
    with socket.create_connection(("127.0.0.1", server.port)) as gone:
        gone.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # resets
    later = await Raw.to(server)
    later.send(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await later.response())[0] == 200
    assert served == ["/later"]
    later.writer.close()


async def test_45_a_body_that_nobody_reads_does_not_hold_the_connection():
    async def hasty(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    server = HttpServer(hasty, header_timeout=0.3)
    await server.start()
    client = await Raw.to(server)
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
    status, _, _ = await client.response()
    client.send(b" ")
    assert (status, await client.closed()) == (204, b"")
    client.writer.close()
    await server.stop(1)


async def test_45_a_body_that_is_late_but_in_time_is_no_reason_to_close():
    async def hasty(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    server = HttpServer(hasty)
    await server.start()
    client = await Raw.to(server)
    for _ in range(2):
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
        status, _, _ = await client.response()
        client.send(b"{}")
        assert status == 204
    client.writer.close()
    await server.stop(1)


async def test_45_a_slow_body_is_408(raw):
    raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    status, headers, body = await raw.response()
    assert (status, headers["connection"]) == (408, "close")
    assert json.loads(body)["reason"] == "BODY_TIMEOUT"


async def test_45_an_announced_body_over_the_limit_is_413_and_the_answer_arrives(raw):
    raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n")
    writing = asyncio.create_task(upload(raw, 512))
    assert (await raw.response())[0] == 413
    await writing
    assert served == []


async def test_45_a_chunked_body_over_the_limit_is_413_and_not_collected(raw):
    raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    tracemalloc.start()
    try:
        writing = asyncio.create_task(upload(raw, 512, chunked=True))
        assert (await raw.response())[0] == 413
        await writing
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20
    assert served == []


async def upload(raw, pieces: int, *, chunked: bool = False) -> None:
    """Send 64 KiB after 64 KiB, as a client does that does not listen, until cut off."""
    piece = b"x" * (1 << 16)
    if chunked:
        piece = b"%x\r\n%s\r\n" % (len(piece), piece)
    try:
        for _ in range(pieces):
            raw.send(piece)
            await raw.writer.drain()
    except ConnectionError:
        pass
