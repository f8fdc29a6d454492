"""A TCP proxy that misbehaves on command: what a network does to a service, without root."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from prodkit.errors import ConfigurationError

Direction = Literal["up", "down", "both"]
_CHUNK = 64 * 1024


@dataclass(slots=True)
class _Faults:
    """What happens to the bytes of one direction."""

    latency: float = 0.0
    stalled: bool = False
    left: int | None = None  # bytes until the connection is cut; None: no cut


class FaultProxy:
    """Stands between a client and `host`:`port`, and delays, drops, cuts and swallows what passes.

        async with FaultProxy("127.0.0.1", 5432) as proxy:
            connect("127.0.0.1", proxy.port)
            proxy.black_hole()      # packets go nowhere, connections stay: a hung server
            proxy.heal()

    Faults hold for connections there are and those to come, until `heal`. `direction` is "up" (to
    the server), "down" (back to the client) or "both". It carries bytes and knows no protocol.
    """

    def __init__(self, host: str, port: int, *, listen: str = "127.0.0.1") -> None:
        self._target = host, port
        self._listen = listen
        self._server: asyncio.Server | None = None
        self._faults = {"up": _Faults(), "down": _Faults()}
        self._refusing = False
        self._moved = asyncio.Event()
        self._links: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def port(self) -> int:
        """The port to connect to instead of the server's; chosen when the proxy starts."""
        if self._server is None:
            raise RuntimeError("the proxy has no port before it is started")
        port = self._server.sockets[0].getsockname()[1]
        assert isinstance(port, int)
        return port

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._links)

    async def start(self) -> None:
        """Begin to listen, on a free port."""
        self._server = await asyncio.start_server(self._accepted, self._listen, 0)

    async def aclose(self) -> None:
        """Cut what is connected and stop listening."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._links)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> FaultProxy:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def delay(self, seconds: float, direction: Direction = "both") -> None:
        """Let each chunk of bytes arrive `seconds` later; order is kept."""
        if not 0 <= seconds < float("inf"):
            raise ConfigurationError(f"seconds must be a number of 0 or more, not {seconds!r}")
        for faults in self._of(direction):
            faults.latency = seconds

    def black_hole(self, direction: Direction = "both") -> None:
        """Let bytes go nowhere, and connections stay open: a hung peer, a silent firewall.

        What was sent in the meantime arrives after `heal`, as TCP would retransmit it.
        """
        for faults in self._of(direction):
            faults.stalled = True

    def truncate(self, after: int, direction: Direction = "down") -> None:
        """Let `after` bytes more pass on, all connections together, and cut off there."""
        if after < 0:
            raise ConfigurationError(f"after must be 0 or more bytes, not {after!r}")
        for faults in self._of(direction):
            faults.left = after

    def refuse(self) -> None:
        """Cut new connections as soon as they come: a server that is down."""
        self._refusing = True

    def drop(self) -> None:
        """End the connections there are, politely (FIN)."""
        for task in self._links:
            task.cancel()

    def reset(self) -> None:
        """End the connections there are with a reset (RST)."""
        for task, client in self._links.items():
            _reset_on_close(client)
            task.cancel()

    def heal(self) -> None:
        """Behave again; connections that were cut stay cut."""
        self._faults.update(up=_Faults(), down=_Faults())
        self._refusing = False
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _of(self, direction: Direction) -> list[_Faults]:
        if direction not in ("up", "down", "both"):
            raise ConfigurationError(f"direction must be up, down or both, not {direction!r}")
        return list(self._faults.values()) if direction == "both" else [self._faults[direction]]

    async def _accepted(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self._refusing:
            _reset_on_close(client)
            client.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._links[task] = client
        try:
            await self._carry(reader, client)
        except (OSError, asyncio.CancelledError):
            pass  # the proxy's own cut, or a peer's; the other side sees the close
        finally:
            del self._links[task]
            client.close()

    async def _carry(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        upstream, server = await asyncio.open_connection(*self._target)
        pumps = [
            asyncio.create_task(self._pump("up", reader, server)),
            asyncio.create_task(self._pump("down", upstream, client)),
        ]
        try:
            await asyncio.gather(*pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            server.close()

    async def _pump(
        self, direction: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        while data := await source.read(_CHUNK):
            if self._faults[direction].latency:
                await asyncio.sleep(self._faults[direction].latency)
            while self._faults[direction].stalled:
                await self._moved.wait()
            left = self._faults[direction].left
            if left is not None:
                data = data[:left]
                self._faults[direction].left = left - len(data)
            sink.write(data)
            await sink.drain()
            if self._faults[direction].left == 0:
                raise ConnectionResetError("cut off here")
        if sink.can_write_eof():
            sink.write_eof()


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    """Let the close of `writer`'s socket send RST: SO_LINGER with no time (socket(7))."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
