"""A server without sockets: it drives one request through an ASGI app."""

import asyncio
import json
from dataclasses import dataclass, field

import pytest


@dataclass
class Answer:
    messages: list = field(default_factory=list)

    @property
    def status(self) -> int:
        return self.messages[0]["status"]

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def complete(self) -> bool:
        return len(self.messages) > 1 and not self.messages[-1].get("more_body", False)

    @property
    def problem(self) -> dict:
        assert self.headers[b"content-type"] == b"application/problem+json"
        return json.loads(self.body)


class Wire:
    """The receive and send of one request; `chunks` are body parts, or exceptions for a hang-up."""

    def __init__(self, chunks=(b"",)):
        self.chunks = list(chunks)
        self.answer = Answer()
        self.held_up = asyncio.Event()

    async def receive(self):
        if not self.chunks:
            await self.held_up.wait()
        chunk = self.chunks.pop(0)
        if chunk is None:
            self.chunks.append(None)
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(self.chunks)}

    async def send(self, message):
        self.answer.messages.append(message)


def http_scope(method="GET", path="/", headers=(), query=b"", **extra):
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": [(b"host", b"shop.test"), *headers],
        "client": ("192.0.2.7", 4711),
        "server": ("127.0.0.1", 8080),
        **extra,
    }


@pytest.fixture
def scope_of():
    return http_scope


@pytest.fixture
def new_wire():
    return Wire


@pytest.fixture
def ask():
    async def run(app, method="GET", path="/", headers=(), chunks=None, **extra):
        headers = list(headers)
        if chunks is not None and not any(name == b"content-length" for name, _ in headers):
            headers.append((b"transfer-encoding", b"chunked"))
        wire = Wire((b"",) if chunks is None else chunks)
        await app(http_scope(method, path, headers, **extra), wire.receive, wire.send)
        return wire.answer

    return run
