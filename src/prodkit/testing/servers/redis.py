"""A private Redis: nothing on disk, gone when the test run is."""

from __future__ import annotations

import socket

from prodkit.testing.servers.private import PrivateServer, binary, folder_for, free_port


class PrivateRedis(PrivateServer):
    """A Redis server of one's own at `url`; it keeps nothing on disk, so a kill forgets all."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        program = binary("redis-server", package="redis-server")
        folder = folder_for("redis")
        options = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(folder)}
        options |= {"save": "", "appendonly": "no"}
        given = [word for name, value in options.items() for word in (f"--{name}", value)]
        super().__init__("redis-server", folder, [program, *given], self._pings)

    def _pings(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as sock:
                sock.sendall(b"PING\r\n")
                return sock.recv(16).startswith(b"+PONG")
        except OSError:
            return False
