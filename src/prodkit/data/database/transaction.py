"""Transactions that always end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    CursorResult,
    Executable,
    Float,
    Table,
    bindparam,
    literal,
    literal_column,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction

from prodkit._tasks import complete
from prodkit.clock import Clock
from prodkit.errors import AbortedError
from prodkit.holding import HELD, Hold

_INSERT: Mapping[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


class TransactionConflictError(AbortedError):
    """The database rolled the transaction back in favor of another: run the whole of it again."""

    reason = "TRANSACTION_CONFLICT"


class Transaction:
    """What a block of statements runs in; `connection` is SQLAlchemy's, for who needs more.

    Where a statement fails on PostgreSQL, all the rest of the transaction does: an exception that
    is caught inside the block does not save what came before. `insert_new` is for rows that may be
    there already. While it is open its task calls nobody else: see `prodkit.holding`.
    """

    __slots__ = ("_listeners", "connection")

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self._listeners: list[Callable[[], None]] = []

    @property
    def dialect(self) -> str:
        """Which kind of database it is in: "sqlite" or "postgresql"."""
        return self.connection.dialect.name

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run one statement; a list of parameters runs it once for each."""
        result: CursorResult[Any] = await self.connection.execute(statement, parameters)
        return result

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` once this is committed; not where it rolls back, or nobody knows."""
        self._listeners.append(listener)

    async def commit(self, begun: AsyncTransaction) -> None:
        """Commit, and tell who listens. For `run_transaction`, which began it."""
        active = begun.is_active  # or the block has rolled it back
        await self.connection.commit()
        if active:
            for each in self._listeners:
                each()

    async def insert_new(self, table: Table, row: Mapping[str, Any]) -> bool:
        """Insert `row` unless one with its key is there, and say whether it was inserted.

        Waits for a transaction that is inserting the same row, and goes by how that ends.
        """
        statement = _new(self.dialect, table)
        if any(isinstance(value, ClauseElement) for value in row.values()):
            return (await self.execute(statement.values(row))).rowcount > 0
        return (await self.execute(statement, row)).rowcount > 0


@lru_cache(256)
def _new(dialect: str, table: Table) -> Any:
    return _INSERT[dialect](table).on_conflict_do_nothing()


async def shared_time(tx: Transaction, clock: Clock) -> float:
    """Return Unix time by a clock that all processes of the database share: for their leases.

    That is the server's; SQLite's processes share a machine, and `clock`.
    """
    if tx.dialect != "postgresql":
        return clock.wall()
    found = await tx.execute(text("SELECT extract(epoch FROM clock_timestamp())::float8"))
    return float(found.scalar_one())


def time_expression(tx: Transaction, clock: Clock) -> ColumnElement[float]:
    """Return `shared_time` as a part of a statement, which costs no round trip."""
    return literal(clock.wall(), Float) if tx.dialect != "postgresql" else now_of(tx.dialect)


def now_of(dialect: str) -> ColumnElement[float]:
    """Return `time_expression` for statements that are made once.

    Where `now_values` has a value, it is the parameter `now`.
    """
    if dialect != "postgresql":
        return bindparam("now", type_=Float)
    # Not clock_timestamp(): the planner takes that for different in each row, and no index helps.
    now = "CAST(extract(epoch FROM statement_timestamp()) AS double precision)"
    return literal_column(now, Float)


def now_values(dialect: str, clock: Clock) -> dict[str, Any]:
    """Return the parameters that a statement with `now_of` needs for that."""
    return {} if dialect == "postgresql" else {"now": clock.wall()}


@asynccontextmanager
async def run_transaction(engine: AsyncEngine, name: str) -> AsyncIterator[Transaction]:
    """Open a transaction on `engine`: commits at the end, rolls back on any exception.

    Meanwhile the task holds a connection of the database `name`.
    """
    connection, hold = engine.connect(), Hold(name)
    try:
        await complete(_start(connection))
        begun = await connection.begin()
        token = HELD.set(hold)
        try:
            transaction = Transaction(connection)
            yield transaction
        finally:
            hold.open = False
            with suppress(ValueError):  # ended in another context than it began in, as fixtures are
                HELD.reset(token)
        await complete(transaction.commit(begun))
    finally:
        # Rolls back what is open. A connection whose statement was cancelled is not reused.
        if connection.sync_connection is not None:
            await complete(connection.close())


async def _start(connection: AsyncConnection) -> None:
    await connection.start()
