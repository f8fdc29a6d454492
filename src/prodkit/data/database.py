"""The database of one service: one writer, a few readers, and transactions that always end."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from sqlalchemy import CursorResult, Executable, MetaData, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from prodkit.call import Call
from prodkit.clock import seconds
from prodkit.data.tasks import complete
from prodkit.errors import ConfigurationError, UnavailableError
from prodkit.pipeline import Next

T = TypeVar("T")

#: What SQLite says when the database, not the statement, is at fault; by primary result code.
_AWAY = {
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_LOCKED: "is locked",
    sqlite3.SQLITE_FULL: "has no space left",
    sqlite3.SQLITE_IOERR: "cannot be read or written",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_NOMEM: "is out of memory",
}


class Transaction:
    """What a block of statements runs in; `connection` is SQLAlchemy's, for who needs more."""

    __slots__ = ("connection", "open")

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.open = True

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run one statement; a list of parameters runs it once for each."""
        result: CursorResult[Any] = await self.connection.execute(statement, parameters)
        return result


_CURRENT: ContextVar[Transaction | None] = ContextVar("prodkit_transaction", default=None)


def check_no_transaction() -> None:
    """Refuse a remote call while this task holds a transaction.

    The slowness of the other side would become ours: with one writer, a second of waiting in a
    transaction stops every other write for that second. Raises RuntimeError.
    """
    transaction = _CURRENT.get()
    if transaction is not None and transaction.open:
        raise RuntimeError("a remote call inside a database transaction: end the transaction first")


async def outside_transactions(call: Call, proceed: Next[T]) -> T:
    """Let a call out unless a transaction is open: a middleware for outbound pipelines.

    Raises RuntimeError, as `check_no_transaction` does.
    """
    check_no_transaction()
    return await proceed(call)


class Database:
    """A SQLite database in a file, as a component of a service.

    One connection writes (BEGIN IMMEDIATE, so that no transaction fails half-way for the lock),
    `readers` others can only read. WAL with synchronous=FULL: what was committed survives power
    loss. `wait` bounds, in seconds, how long a transaction waits for its connection and for other
    processes' locks; then UnavailableError. `:memory:` stands for a private temporary file that
    goes away at `stop`, so that tests run the very same modes, without the syncs.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "database",
        readers: int = 4,
        wait: float = 2.0,
    ) -> None:
        if readers < 1:
            raise ConfigurationError(f"readers must be at least 1, not {readers!r}")
        self.name = name
        self._wait = seconds("wait", wait)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._file = _file(os.fspath(path))
        if self._file == ":memory:":
            self._folder = tempfile.TemporaryDirectory(prefix="prodkit-")
            self._file = os.path.join(self._folder.name, "database.sqlite")
        self.writer = self._engine(places=1, begin="BEGIN IMMEDIATE", pragma="foreign_keys = ON")
        self._reader = self._engine(places=readers, begin="BEGIN", pragma="query_only = ON")
        self._writing = asyncio.Semaphore(1)
        self._reading = asyncio.Semaphore(readers)

    def _engine(self, *, places: int, begin: str, pragma: str) -> AsyncEngine:
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{self._file}",
            pool_size=places,
            max_overflow=0,
            pool_timeout=self._wait,
            pool_reset_on_return=None,
            # Errors reach logs; the values in a statement may be somebody's hash or token.
            hide_parameters=True,
            # The driver must not begin transactions by itself: `begin` does.
            connect_args={"isolation_level": None, "timeout": self._wait},
        )
        sync = "FULL" if self._folder is None else "OFF"
        pragmas = ("journal_mode = WAL", f"synchronous = {sync}", pragma)

        @event.listens_for(engine.sync_engine, "connect")
        def _prepare(connection: Any, _record: object) -> None:
            cursor = connection.cursor()
            for each in pragmas:
                cursor.execute(f"PRAGMA {each}")
            cursor.close()

        @event.listens_for(engine.sync_engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql(begin)

        return engine

    async def start(self) -> None:
        """Open the database, or raise UnavailableError."""
        try:
            async with self.transaction():
                pass
            await self.ping()
        except BaseException:
            await complete(self.stop())
            raise

    async def stop(self, grace: float = 0.0) -> None:
        """Close all connections; nobody may be using them any more."""
        await self._reader.dispose()
        await self.writer.dispose()
        if self._folder is not None:
            self._folder.cleanup()

    async def ping(self) -> None:
        """Raise UnavailableError unless the database answers."""
        async with self.read() as transaction:
            # Reads the file, as a constant would not.
            await transaction.execute(text("SELECT count(*) FROM sqlite_master"))

    async def create_all(self, *metadata: MetaData) -> None:
        """Create the tables that are not there yet, in one transaction."""
        async with self.transaction() as transaction:
            for each in metadata:
                await transaction.connection.run_sync(each.create_all)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Open the one transaction that may write; commits at the end, rolls back on any exception.

        Whoever is cancelled inside leaves only after the roll-back; whoever is cancelled during
        the commit, after the commit. Raises UnavailableError.
        """
        async with self._open(self.writer, self._writing) as transaction:
            yield transaction

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """Open a transaction that sees one state of the database and cannot write."""
        async with self._open(self._reader, self._reading) as transaction:
            yield transaction

    @asynccontextmanager
    async def _open(
        self, engine: AsyncEngine, places: asyncio.Semaphore
    ) -> AsyncIterator[Transaction]:
        await self._enter(places)
        try:
            with _translated(self.name):
                async with _transaction(engine) as transaction:
                    yield transaction
        finally:
            places.release()

    async def _enter(self, places: asyncio.Semaphore) -> None:
        """Wait for a place; the pool's own wait can swallow a cancellation on Python 3.11."""
        try:
            async with asyncio.timeout(self._wait):
                await places.acquire()
        except TimeoutError as error:
            raise _unavailable(self.name, "is busy: no connection came free in time") from error


@asynccontextmanager
async def _transaction(engine: AsyncEngine) -> AsyncIterator[Transaction]:
    connection = engine.connect()
    transaction = Transaction(connection)
    try:
        await complete(_start(connection))
        await connection.begin()
        token = _CURRENT.set(transaction)
        try:
            yield transaction
        finally:
            _CURRENT.reset(token)
            transaction.open = False
        await complete(connection.commit())
    finally:
        # Rolls back what is open. A connection whose statement was cancelled is not reused.
        if connection.sync_connection is not None:
            await complete(connection.close())


async def _start(connection: AsyncConnection) -> None:
    await connection.start()


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except PoolTimeoutError as error:
        raise _unavailable(name, "is busy: no connection came free in time") from error
    except OperationalError as error:
        code = getattr(error.orig, "sqlite_errorcode", None)
        trouble = None if code is None else _AWAY.get(code & 0xFF)
        if trouble is None:
            raise
        raise _unavailable(name, trouble) from error


def _unavailable(name: str, trouble: str) -> UnavailableError:
    return UnavailableError(f"{name} {trouble}", reason="DATABASE_UNAVAILABLE", retry_after=1.0)


def _file(path: str) -> str:
    if "://" not in path:
        return path
    url = make_url(path)
    if url.get_backend_name() != "sqlite":
        raise ConfigurationError(f"only sqlite databases are supported, not {url.drivername!r}")
    return url.database or ":memory:"
