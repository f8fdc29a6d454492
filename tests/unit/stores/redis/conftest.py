"""A server that says what a test tells it to."""

import asyncio

import hiredis
import pytest


class Scripted:
    """Answers each command with what `answer(command)` returns: bytes, or None for silence."""

    def __init__(self, answer, *, path=None, ssl=None):
        self.answer = answer
        self._path, self._ssl = path, ssl
        self.greeted = 0
        self.commands = []
        self.reads = 0
        self.writers = []

    async def __aenter__(self):
        if self._path is not None:
            self._server = await asyncio.start_unix_server(self._serve, self._path)
            self.url = f"unix://{self._path}"
            return self
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._ssl)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"redis{'s' if self._ssl else ''}://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self.writers:
            writer.close()
        await asyncio.sleep(0)

    async def _serve(self, reader, writer):
        self.writers.append(writer)
        parser = hiredis.Reader(notEnoughData=StopIteration)
        while data := await reader.read(65536):
            self.reads += 1
            parser.feed(data)
            while (command := parser.gets()) is not StopIteration:
                if command == [b"PING"]:
                    self.greeted += 1
                else:
                    self.commands.append(command)
                answer = b"+PONG\r\n" if command == [b"PING"] else self.answer(command)
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if answer is not None:
                    writer.write(answer)
        writer.close()


@pytest.fixture
def scripted():
    return Scripted
