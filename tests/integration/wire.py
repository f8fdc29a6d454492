"""Counts what a client says to PostgreSQL, and how often it waits for an answer."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

_PROTOCOL_3 = 196608
#: What the server answers: a simple query, a Sync, a Flush.
_ASKS = "QSH"


class Wire:
    """What was said since `taken` was asked last; times and answers are left out."""

    def __init__(self):
        self._counts = Counter()

    def say(self, kind):
        self._counts[kind] += 1

    def taken(self):
        """Return the round trips."""
        counts, self._counts = self._counts, Counter()
        return sum(counts[each] for each in _ASKS)

    async def of(self, work, before=8):
        """Return the round trips that `work()` takes when all it needs is prepared."""
        for _ in range(before):
            await work()
        self.taken()
        await work()
        return self.taken()


@asynccontextmanager
async def wired(url):
    """Yield the URL of a way to the server of `url`, and what counts on it."""
    place, wire = urlsplit(url), Wire()

    async def serve(reader, writer):
        above, below = await asyncio.open_connection(place.hostname, place.port)
        await asyncio.gather(_up(reader, below, wire), _down(above, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield url.replace(f":{place.port}/", f":{port}/"), wire
    finally:
        server.close()


async def _up(reader, writer, wire):
    """Carry the client's messages, each counted before the server has it."""
    try:
        while await _startup(reader, writer) != _PROTOCOL_3:
            pass
        while True:
            head = await reader.readexactly(5)
            body = await reader.readexactly(int.from_bytes(head[1:], "big") - 4)
            wire.say(chr(head[0]))
            writer.write(head + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _startup(reader, writer):
    head = await reader.readexactly(8)
    body = await reader.readexactly(int.from_bytes(head[:4], "big") - 8)
    writer.write(head + body)
    return int.from_bytes(head[4:], "big")


async def _down(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass
    finally:
        writer.close()
