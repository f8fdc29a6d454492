"""A private PostgreSQL cluster, as root or not."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from prodkit.testing.servers.private import (
    PrivateServer,
    ServerError,
    binary,
    folder_for,
    free_port,
    unless_root,
)

_PLACE = "usr/lib/postgresql/*/bin"


class PrivatePostgres(PrivateServer):
    """A PostgreSQL of one's own: `url` for asyncpg by SQLAlchemy, `dsn` for everybody else.

    `durable=True` keeps fsync on, for tests that kill it; a kill of the server process alone loses
    nothing either way. `settings` go to the server's command line.
    """

    def __init__(self, *, durable: bool = False, settings: dict[str, str] | None = None) -> None:
        self.port = free_port()
        self.dsn = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.url = self.dsn.replace("postgresql://", "postgresql+asyncpg://")
        self._isready = binary("pg_isready", _PLACE, package="postgresql")
        user = unless_root("postgres")
        folder = folder_for("postgres", user)
        data = folder / "data"
        _initialise(data, user)
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder)}
        options |= {"fsync": "on" if durable else "off", "max_connections": "100"}
        options |= settings or {}
        given = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        program = binary("postgres", _PLACE, package="postgresql")
        command = [program, "-D", str(data), "-p", str(self.port), *given]
        super().__init__("postgres", folder, command, self._is_ready, stop=signal.SIGINT, user=user)

    def _is_ready(self) -> bool:
        asked = [self._isready, "-q", "-U", "postgres", "-h", "127.0.0.1"]
        return subprocess.run([*asked, "-p", str(self.port)], check=False).returncode == 0


def _initialise(data: Path, user: str) -> None:
    program = binary("initdb", _PLACE, package="postgresql")
    options = ["-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
    made = subprocess.run(
        [program, "-D", str(data), *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=data.parent,
        user=user or None,
        group=user or None,
    )
    if made.returncode:
        raise ServerError(f"initdb failed: {made.stderr[-2000:]}")
