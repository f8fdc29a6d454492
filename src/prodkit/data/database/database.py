"""The database of one service as a component: transactions, and one clear error if it is away."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

from sqlalchemy import CompoundSelect, CursorResult, Executable, MetaData, Select, inspect, text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from prodkit._tasks import complete
from prodkit.clock import seconds
from prodkit.data.database.alone import execute_alone, fetch_alone
from prodkit.data.database.engines import Engines, refusals, unavailable
from prodkit.data.database.postgres import postgres_engines
from prodkit.data.database.postgres_options import PostgresOptions
from prodkit.data.database.postgres_server import Server
from prodkit.data.database.sqlite import sqlite_engines
from prodkit.data.database.transaction import Transaction, run_transaction
from prodkit.errors import ConfigurationError

_Columns: TypeAlias = tuple[Any, ...]
_Run: TypeAlias = Callable[[Executable, Any], Awaitable[CursorResult[Any]]]
_DEFAULTS = PostgresOptions()
_BUSY = "is busy: no connection came free in time"


class Database:
    """A database, as a component of a service: a SQLite file by its path, or PostgreSQL by its URL.

    `wait` bounds, in seconds, how long a transaction waits for its connection, and on SQLite for
    other processes' locks; then UnavailableError.

    SQLite: one connection writes (BEGIN IMMEDIATE, so that no transaction fails half-way for the
    lock), `readers` others can only read. WAL with synchronous=FULL: what was committed survives
    power loss. `:memory:` stands for a private temporary file that goes away at `stop`, so that
    tests run the very same modes, without the syncs.

    PostgreSQL: `postgres` has the pool and the time limits. Transactions are READ COMMITTED:
    decide by conditional statements and unique keys, not by what was read before, or ask for
    `serializable`, which the one writer of SQLite always is. A connection whose fate is unknown (a
    time-out, a cancellation in the middle of a statement) is closed, never used again. A URL may
    name several hosts, a primary and its standbys: see `Server`. Errors and `repr` name the server,
    never the password, nor the values of rows.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        *,
        name: str = "database",
        readers: int = 4,
        wait: float = 2.0,
        postgres: PostgresOptions = _DEFAULTS,
    ) -> None:
        self.name = name
        self._wait = seconds("wait", wait)
        self.server, self._engines = _open(
            os.fspath(url), name=name, readers=readers, wait=self._wait, postgres=postgres
        )
        self.writer = self._engines.writer
        self._reader = self._engines.reader
        self._fetch = partial(fetch_alone, self._engines.reading_alone)
        self._execute = partial(execute_alone, self._engines.alone)
        self._writing = asyncio.Semaphore(self._engines.writers)
        shared = self._engines.readers is None
        self._reading = self._writing if shared else asyncio.Semaphore(readers)

    @property
    def dialect(self) -> str:
        """Which kind it is: "sqlite" or "postgresql"."""
        return self.writer.dialect.name

    def __repr__(self) -> str:
        return f"Database({self.name!r}, {self.server or 'sqlite'})"

    async def start(self) -> None:
        """Open the database, or raise UnavailableError.

        ConfigurationError where waiting cannot help: a wrong password, no such database.
        """
        try:
            with refusals():
                async with self.transaction():
                    pass
                await self.ping()
        except BaseException:
            await complete(self.stop())
            raise

    async def stop(self, grace: float = 0.0) -> None:
        """Close all connections; nobody may be using them any more."""
        await self._engines.dispose()

    async def ping(self) -> None:
        """Raise UnavailableError unless the database answers."""
        await self.fetch(self._engines.probe)

    async def create_all(self, *metadata: MetaData) -> None:
        """Create the tables that are not there yet, in one transaction.

        Processes that do so at once wait for each other. Changes of what is there are migrations'.
        """
        async with self.transaction() as transaction:
            if transaction.dialect == "postgresql":
                # IF NOT EXISTS is no protection: two who create at once collide in the catalog.
                await transaction.execute(text("SELECT pg_advisory_xact_lock(7310025017)"))
            for each in metadata:
                await transaction.connection.run_sync(each.create_all)

    async def check_tables(self, *metadata: MetaData) -> None:
        """Raise ConfigurationError that names the tables that are missing, and what to do."""
        wanted = {table.name for each in metadata for table in each.tables.values()}
        async with self.read() as transaction:
            there = await transaction.connection.run_sync(lambda c: inspect(c).get_table_names())
        if missing := sorted(wanted.difference(there)):
            names = ", ".join(missing)
            raise ConfigurationError(
                f"{self.name} has no table {names}: migrate it before the service starts"
            )

    @asynccontextmanager
    async def transaction(self, *, serializable: bool = False) -> AsyncIterator[Transaction]:
        """Open a transaction that may write; commits at the end, rolls back on any exception.

        Whoever is cancelled inside leaves only after the roll-back; whoever is cancelled during
        the commit, after the commit. Raises UnavailableError, and on PostgreSQL
        TransactionConflictError: nothing happened, and the whole may be run again, as
        `UnitOfWork.run` does.
        """
        engines = self._engines
        engine = engines.serializable if serializable else engines.writer
        async with self._open(engine, self._writing) as transaction:
            yield transaction

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """Open a transaction that sees one state of the database and cannot write.

        `fetch` does the same for one statement, and costs less.
        """
        async with self._open(self._reader, self._reading) as transaction:
            yield transaction

    async def fetch(
        self, statement: Select[*_Columns] | CompoundSelect[*_Columns], parameters: Any = None
    ) -> CursorResult[Any]:
        """Run one SELECT, which sees one state of the database: one round trip on PostgreSQL.

        That is a third of what `read` takes; but nothing keeps a statement inside a SELECT (in a
        CTE, a function) from writing there. Raises UnavailableError. Whoever is cancelled leaves
        at once. Not inside `read` or `transaction`: it would wait for a second connection.
        """
        if not isinstance(statement, Select | CompoundSelect):
            raise TypeError(f"fetch runs a SELECT; others belong into read(), not {statement!r}")
        return await self._alone(self._fetch, self._reading, statement, parameters)

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run one statement that may write, as a transaction of its own: one round trip.

        It happens as a whole or not at all, on PostgreSQL in one round trip. A list of parameters
        makes several statements: those belong into `transaction`. Whoever is cancelled meanwhile
        leaves after it, as after a commit. Raises what `transaction` does; after UnavailableError
        it may have happened, as a commit may. Not inside `read` or `transaction`.
        """
        if isinstance(parameters, list | tuple):
            raise TypeError("execute runs one statement; several belong into transaction()")
        return await self._alone(self._execute, self._writing, statement, parameters)

    @asynccontextmanager
    async def _open(
        self, engine: AsyncEngine, places: asyncio.Semaphore
    ) -> AsyncIterator[Transaction]:
        await self._enter(places)
        try:
            async with run_transaction(engine, self.name) as transaction:
                yield transaction
        except PoolTimeoutError as error:
            raise unavailable(self.name, _BUSY) from error
        finally:
            places.release()

    async def _alone(
        self, run: _Run, places: asyncio.Semaphore, statement: Executable, parameters: Any
    ) -> CursorResult[Any]:
        await self._enter(places)
        try:
            return await run(statement, parameters)
        except PoolTimeoutError as error:
            raise unavailable(self.name, _BUSY) from error
        finally:
            places.release()

    async def _enter(self, places: asyncio.Semaphore) -> None:
        """Wait for a place; the pool's own wait can swallow a cancellation on Python 3.11."""
        try:
            async with asyncio.timeout(self._wait):
                await places.acquire()
        except TimeoutError as error:
            raise unavailable(self.name, _BUSY) from error


def _open(
    url: str, *, name: str, readers: int, wait: float, postgres: PostgresOptions
) -> tuple[Server | None, Engines]:
    if "://" not in url or url.partition("://")[0] in ("sqlite", "sqlite+aiosqlite"):
        return None, sqlite_engines(url, name=name, readers=readers, wait=wait)
    server = Server(url, postgres, name=name)
    return server, postgres_engines(server, postgres, name=name, wait=wait)
