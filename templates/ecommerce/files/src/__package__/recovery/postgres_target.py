"""A PostgreSQL database that is to be replaced by the one of a backup."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from asyncpg.exceptions import InvalidCatalogNameError, ObjectInUseError
from prodkit.errors import ConfigurationError

from .manifest import Part
from .postgres_dumps import rows_of, server, tables_of
from .postgres_url import PostgresUrl, finish, start

#: The database that every server has, to work from.
_MAINTENANCE = "postgres"
#: Seconds between two looks, and until the last connection to a database must be gone.
_LOOK, _GONE = 0.2, 10.0
#: How many tables are restored at once.
_JOBS = 2
_THERE = "SELECT count(*) FROM pg_database WHERE datname = $1"
_USERS = """
    SELECT string_agg(DISTINCT coalesce(nullif(application_name, ''), 'somebody'), ', ')
    FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'"""


class PostgresTarget:
    """Where the database of a service is, or will be."""

    kind = "postgresql"

    def __init__(self, name: str, url: PostgresUrl, runner: asyncio.Runner) -> None:
        self.name = name
        self.shown = url.database
        self._url = url
        self._new = url.to(f"{url.database}_restoring")
        self._run = runner.run

    def occupied(self) -> bool:
        """Say whether it has tables; ConfigurationError if somebody is connected."""
        if not self._work(_THERE, self._url.database):
            return False
        if users := self._work(_USERS, self._url.database):
            raise ConfigurationError(
                f"database {self._url.database} is in use by {users}: stop the shop first"
            )
        return bool(self._run(self._tables()))

    def load(
        self, source: Path, part: Part, publish_again: bool, tell: Callable[[int, int], None]
    ) -> dict[str, int]:
        """Restore a dump to a new database, and return how many rows each table has."""
        self.discard()
        self._work(f"CREATE DATABASE {_quoted(self._new)} TEMPLATE template0")
        options = ["--no-owner", "--no-privileges", "--exit-on-error", f"--jobs={_JOBS}"]
        running = start(["pg_restore", *options, str(source)], self._new)
        try:
            while running.poll() is None:
                tell(self._work("SELECT pg_database_size($1)", self._new.database), 0)
                time.sleep(_LOOK)
            finish(running)
        finally:
            running.kill()
            running.wait()
        rows: dict[str, int] = self._run(self._finished(publish_again))
        return rows

    def put_aside(self, mark: str) -> str:
        """Give what is there another name, and return that; empty if nothing is."""
        if not self._work(_THERE, self._url.database):
            return ""
        if not self._run(self._tables()):
            self._alone(f"DROP DATABASE {_quoted(self._url)}")
            return ""
        aside = self._url.to(f"{self._url.database}_before_{mark}")
        self._alone(f"ALTER DATABASE {_quoted(self._url)} RENAME TO {_quoted(aside)}")
        return f"database {aside.database}"

    def take_place(self) -> None:
        """Give the new database its name."""
        self._alone(f"ALTER DATABASE {_quoted(self._new)} RENAME TO {_quoted(self._url)}")

    def discard(self) -> None:
        """Remove what `load` made, if it has not taken its place."""
        with suppress(InvalidCatalogNameError):
            self._alone(f"DROP DATABASE {_quoted(self._new)}")

    async def _tables(self) -> list[str]:
        connection = await server(self._url).connect()
        try:
            return await tables_of(connection)
        finally:
            connection.terminate()

    async def _finished(self, publish_again: bool) -> dict[str, int]:
        connection = await server(self._new).connect()
        try:
            rows = await rows_of(connection)
            if publish_again:
                await connection.execute("UPDATE outbox SET sent_at = NULL")
            await connection.execute("ANALYZE")  # or the first queries are planned blindly
            return rows
        finally:
            connection.terminate()

    def _alone(self, statement: str) -> None:
        """Run what needs a database without connections: the last ones may be ending just now."""
        end = time.monotonic() + _GONE
        while True:
            try:
                self._work(statement)
            except ObjectInUseError:
                if time.monotonic() > end:
                    raise
                time.sleep(_LOOK)
            else:
                return

    def _work(self, statement: str, *values: object) -> Any:
        async def work() -> Any:
            connection = await server(self._url.to(_MAINTENANCE)).connect()
            try:
                return await connection.fetchval(statement, *values)
            finally:
                connection.terminate()

        return self._run(work())


def _quoted(url: PostgresUrl) -> str:
    name = url.database.replace('"', '""')
    return f'"{name}"'
