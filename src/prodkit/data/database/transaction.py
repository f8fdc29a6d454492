"""Transactions that always end, and the rule that nobody calls the world from within one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from sqlalchemy import CursorResult, Executable, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from prodkit._tasks import complete
from prodkit.call import Call
from prodkit.clock import Clock
from prodkit.errors import AbortedError
from prodkit.pipeline import Next

T = TypeVar("T")
_INSERT: Mapping[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


class TransactionConflictError(AbortedError):
    """The database rolled the transaction back in favor of another: run the whole of it again."""

    reason = "TRANSACTION_CONFLICT"


class Transaction:
    """What a block of statements runs in; `connection` is SQLAlchemy's, for who needs more.

    Where a statement fails on PostgreSQL, all the rest of
    the transaction does: an exception that is caught inside the block does not save what came
    before. `insert_new` is for rows that may be there already.
    """

    __slots__ = ("connection", "open")

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.open = True

    @property
    def dialect(self) -> str:
        """Which kind of database it is in: "sqlite" or "postgresql"."""
        return self.connection.dialect.name

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run one statement; a list of parameters runs it once for each."""
        result: CursorResult[Any] = await self.connection.execute(statement, parameters)
        return result

    async def insert_new(self, table: Table, row: Mapping[str, Any]) -> bool:
        """Insert `row` unless one with its key is there, and say whether it was inserted.

        Waits for a transaction that is inserting the same row, and goes by how that ends.
        """
        statement = _INSERT[self.dialect](table).values(row).on_conflict_do_nothing()
        return (await self.execute(statement)).rowcount > 0


async def shared_time(tx: Transaction, clock: Clock) -> float:
    """Return Unix time by a clock that all processes of the database share: for their leases.

    That is the server's; SQLite's processes share a machine, and `clock`.
    """
    if tx.dialect != "postgresql":
        return clock.wall()
    found = await tx.execute(text("SELECT extract(epoch FROM clock_timestamp())::float8"))
    return float(found.scalar_one())


_CURRENT: ContextVar[Transaction | None] = ContextVar("prodkit_transaction", default=None)


def check_no_transaction() -> None:
    """Refuse a remote call while this task holds a transaction.

    The slowness of the other side would become ours: a second of waiting in a transaction keeps
    everybody else from its connection, and from what it locked, for that second. Raises
    RuntimeError.
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


@asynccontextmanager
async def run_transaction(engine: AsyncEngine) -> AsyncIterator[Transaction]:
    """Open a transaction on `engine`: commits at the end, rolls back on any exception."""
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
