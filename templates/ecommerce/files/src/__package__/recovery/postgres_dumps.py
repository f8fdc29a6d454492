"""PostgreSQL: a lock that keeps writers out, a snapshot, and a dump of it by pg_dump."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
from asyncpg.exceptions import DeadlockDetectedError, QueryCanceledError
from prodkit.data.database import PostgresOptions
from prodkit.data.database.postgres_server import Server
from prodkit.errors import UnavailableError

from .instant import BusyError, View
from .postgres_url import PostgresUrl, finish, start

#: Seconds that locks are waited for while writers of all databases may be waiting for us, ...
_LOCK = 0.2
#: ... and while only this one's are: the server sends its own autovacuum away after a second
#: (deadlock_timeout). The shop's statements have a little more patience (`PostgresOptions.lock`).
_LOCK_ALONE = 1.2
#: Seconds that a dump may take.
_LONG = 86_400.0
#: Seconds between two looks at how far it is.
_LOOK = 0.1
_TABLES = """
    SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY schemaname, tablename"""


class PostgresSource:
    """A database on a server; `runner` is whose loop its connections belong to."""

    kind = "postgresql"

    def __init__(self, name: str, url: PostgresUrl, runner: asyncio.Runner) -> None:
        self.name = name
        self.file = f"{name}.dump"
        self._server = server(url)
        self._url = url
        self._run = runner.run

    def __enter__(self) -> PostgresSource:
        self._writer = self._run(self._server.connect())
        self._reader = self._run(self._server.connect())
        self._tables = self._run(tables_of(self._reader))
        if not self._tables:
            self.__exit__()
            raise UnavailableError(f"{self._url.shown} has no table: nothing to back up")
        return self

    def __exit__(self, *exception: object) -> None:
        for connection in (self._writer, self._reader):
            connection.terminate()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let nobody write meanwhile; readers are not kept."""
        try:
            self._run(self._lock(_LOCK))
        except BusyError:
            with suppress(BusyError):  # for autovacuum's sake
                self._run(self._lock(_LOCK_ALONE))
                self._run(self._writer.execute("ROLLBACK"))
            raise
        try:
            yield
        finally:
            self._run(self._writer.execute("ROLLBACK"))

    async def _lock(self, seconds: float) -> None:
        """Lock all tables, in the order in which most transactions come to them."""
        limit = f"SET LOCAL statement_timeout = {round(seconds * 1000)}"  # of all locks together
        await self._writer.execute(f"BEGIN; {limit}")
        try:
            await self._writer.execute(f"LOCK TABLE {', '.join(self._tables)} IN SHARE MODE")
        except (QueryCanceledError, DeadlockDetectedError) as error:
            await self._writer.execute("ROLLBACK")
            raise BusyError(f"{self.name} is being written to without a pause") from error

    @contextmanager
    def look(self) -> Iterator[View]:
        """See what is there now; writers go on, and their changes are not seen."""
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        self._run(self._reader.execute(begin))
        snapshot = self._run(self._reader.fetchval("SELECT pg_export_snapshot()"))
        try:
            yield PostgresView(self._reader, snapshot, self._url, self._tables, self._run)
        finally:
            self._run(self._reader.execute("ROLLBACK"))


class PostgresView:
    """A database as of a snapshot that `connection` keeps open."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        snapshot: str,
        url: PostgresUrl,
        tables: Sequence[str],
        run: Callable[[Coroutine[Any, Any, Any]], Any],
    ) -> None:
        self._connection = connection
        self._snapshot = snapshot
        self._url = url
        self._tables = tables
        self._run = run

    @property
    def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        counts: dict[str, int] = self._run(rows_of(self._connection))
        return counts

    @property
    def revision(self) -> str:
        """The revision that its migrations brought it to; empty if it has none."""
        revision: str = self._run(revision_of(self._connection))
        return revision

    def save(self, path: Path, tell: Callable[[int, int], None]) -> None:
        """Dump it by pg_dump, in its custom format, which pg_restore reads in parallel."""
        running = start(
            ["pg_dump", "--format=custom", f"--snapshot={self._snapshot}", f"--file={path}"],
            self._url,
        )
        try:
            while running.poll() is None:
                tell(path.stat().st_size, 0)
                time.sleep(_LOOK)
            finish(running)
        finally:
            running.kill()
            running.wait()


def server(url: PostgresUrl) -> Server:
    """Return the server of a database, for connections that may take long."""
    limits = PostgresOptions(connect=5.0, statement=_LONG, idle_in_transaction=_LONG, lock=_LONG)
    return Server(url.url, limits, name=f"database {url.database}")


async def rows_of(connection: asyncpg.Connection) -> dict[str, int]:
    """Return how many rows each table has."""
    return {
        name: await connection.fetchval(f"SELECT count(*) FROM {name}")  # noqa: S608 - quoted by the server
        for name in await tables_of(connection)
    }


async def tables_of(connection: asyncpg.Connection) -> list[str]:
    """Return the names of all tables, quoted where they need it."""
    return [row[0] for row in await connection.fetch(_TABLES)]


async def revision_of(connection: asyncpg.Connection) -> str:
    """Return the revision that Alembic brought a database to; empty if it has none."""
    if not await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL"):
        return ""
    found = await connection.fetch("SELECT version_num FROM alembic_version ORDER BY 1")
    return ",".join(row[0] for row in found)
