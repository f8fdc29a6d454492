"""A private PostgreSQL cluster, as root or not, and a synchronous standby beside it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
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
_SYNCHRONOUS = "SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')"


class PrivatePostgres(PrivateServer):
    """A PostgreSQL of one's own: `url` for asyncpg by SQLAlchemy, `dsn` for everybody else.

    `durable=True` keeps fsync on, for tests that kill it; a kill of the server process alone loses
    nothing either way. `settings` go to the server's command line.

    `standby_of=primary`, a server that runs, makes a copy of it that follows it and can be read:

        with PrivatePostgres() as primary, PrivatePostgres(standby_of=primary) as standby:
            primary.kill()      # whatever it had acknowledged is on the standby
            standby.promote()   # which takes writes from now on

    From its start on the standby is synchronous: the primary acknowledges no commit that the
    standby has not written down. That is the rule even while the standby is away, and for a primary
    that comes back after its standby was promoted: commits there wait.
    """

    def __init__(
        self,
        *,
        durable: bool = False,
        settings: dict[str, str] | None = None,
        standby_of: PrivatePostgres | None = None,
    ) -> None:
        self.port = free_port()
        self.dsn = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.url = self.dsn.replace("postgresql://", "postgresql+asyncpg://")
        self._primary = standby_of
        self._isready = binary("pg_isready", _PLACE, package="postgresql")
        self._psql = binary("psql", _PLACE, package="postgresql")
        user = unless_root("postgres")
        folder = folder_for("postgres", user)
        data = folder / "data"
        try:
            if standby_of is None:
                _initialise(data, user)
            else:
                _copy(data, user, standby_of.port)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder)}
        options |= {"fsync": "on" if durable else "off", "max_connections": "100"}
        options |= settings or {}
        given = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        program = binary("postgres", _PLACE, package="postgresql")
        command = [program, "-D", str(data), "-p", str(self.port), *given]
        super().__init__("postgres", folder, command, self._is_ready, stop=signal.SIGINT, user=user)

    def start(self) -> None:
        """Start it and wait until it serves, and until it is synchronous if it is a standby."""
        super().start()
        if self._primary is not None and self.in_recovery:
            self._primary.wait_for_standby()

    @property
    def in_recovery(self) -> bool:
        """Whether it is a standby that was not promoted."""
        return self.ask("SELECT pg_is_in_recovery()") == "t"

    def promote(self) -> None:
        """Make a standby the primary; returns when it takes writes. Raises ServerError.

        Whoever promotes must see to it that the former primary serves nobody: see `kill`.
        """
        if self.ask("SELECT pg_promote(true, 60)") != "t":
            raise ServerError(f"{self.name}: the standby was not promoted in 60 s")

    def wait_for_standby(self) -> None:
        """Commit nothing from now on without a standby, and wait until there is one."""
        self.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.ask("SELECT pg_reload_conf()")
        end = time.monotonic() + 60.0
        while self.ask(_SYNCHRONOUS) == "0":
            if time.monotonic() > end:
                raise ServerError(f"{self.name}: no standby became synchronous in 60 s")
            time.sleep(0.05)

    def ask(self, statement: str) -> str:
        """Run one SQL statement; return its only value, as text. Raises ServerError."""
        return _run([self._psql, "-X", "-At", "-d", self.dsn, "-c", statement]).strip()

    def _is_ready(self) -> bool:
        asked = [self._isready, "-q", "-U", "postgres", "-h", "127.0.0.1"]
        return subprocess.run([*asked, "-p", str(self.port)], check=False).returncode == 0


def _initialise(data: Path, user: str) -> None:
    program = binary("initdb", _PLACE, package="postgresql")
    options = ["-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
    _run([program, "-D", str(data), *options], user=user, cwd=data.parent)


def _copy(data: Path, user: str, port: int) -> None:
    """Copy a running server, and write down there that it follows that one."""
    program = binary("pg_basebackup", _PLACE, package="postgresql")
    options = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
    source = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
    _run([program, "-D", str(data), *options, *source], user=user, cwd=data.parent)


def _run(command: Sequence[str], *, user: str = "", cwd: Path | None = None) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        user=user or None,
        group=user or None,
    )
    if done.returncode:
        raise ServerError(f"{Path(command[0]).name} failed: {done.stderr[-2000:]}")
    return done.stdout
