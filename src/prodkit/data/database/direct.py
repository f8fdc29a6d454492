"""One INSERT straight to the driver: for the row that every commit pays for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from asyncpg.exceptions import PostgresError
from sqlalchemy import Dialect, Table, insert
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.sql.compiler import SQLCompiler

from prodkit._tasks import complete
from prodkit.data.database.engines import TRANSLATED
from prodkit.data.database.transaction import Transaction

_INTEGRITY = "23"  # the SQLSTATEs of constraints


class DirectInsert:
    """Inserts rows of `columns` into `table`, in a transaction that has SQLAlchemy's connection.

    On PostgreSQL asyncpg runs a statement that it has prepared once for each connection, several
    rows in one round trip. That takes less than half the processor time that SQLAlchemy takes for
    the same row. Errors are those of `Transaction.execute`. The values must be what the driver
    takes: they are not converted.
    """

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        # Made once, and without asking for what the server fills in.
        self._statement = insert(table).inline()
        self._sql = ""
        self._order: list[str] = []

    async def __call__(self, tx: Transaction, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert `rows`. Raises what `Transaction.execute` raises."""
        connection = _connection(tx)
        if connection is None:
            # One row at a time where there is but one: that costs the driver least.
            await tx.execute(self._statement, rows if len(rows) > 1 else rows[0])
            return
        if not self._sql:
            self._compile(tx.connection.dialect)
        values = [[row[column] for column in self._order] for row in rows]
        try:
            if len(values) == 1:
                await connection.execute(self._sql, *values[0])
            else:
                await connection.executemany(self._sql, values)
        except BaseException as error:
            await _fail(tx, connection, error)
            raise

    def _compile(self, dialect: Dialect) -> None:
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
        assert isinstance(compiled, SQLCompiler)
        self._order, self._sql = list(compiled.positiontup or ()), str(compiled)


def _connection(tx: Transaction) -> asyncpg.Connection | None:
    """Return the driver's connection, if it is PostgreSQL's and has begun its transaction."""
    if tx.dialect != "postgresql" or tx.connection.sync_connection is None:
        return None
    pooled = tx.connection.sync_connection.connection
    driver = pooled.driver_connection
    begun = isinstance(driver, asyncpg.Connection) and driver.is_in_transaction()
    return driver if begun else None


@dataclass
class _Context:
    """What SQLAlchemy would say of an error, as far as `translated` asks."""

    original_exception: BaseException
    is_disconnect: bool
    invalidate_pool_on_disconnect: bool = False


async def _fail(tx: Transaction, connection: asyncpg.Connection, error: BaseException) -> None:
    """Raise what SQLAlchemy would, and keep its pool from a connection of unknown fate."""
    context = _Context(error, connection.is_closed())
    meant = tx.connection.sync_engine.get_execution_options()[TRANSLATED](context)
    if context.is_disconnect:
        await complete(tx.connection.invalidate())
    if meant is not None:
        raise meant from error
    if isinstance(error, PostgresError):
        kind = (
            IntegrityError
            if (getattr(error, "sqlstate", None) or "").startswith(_INTEGRITY)
            else DBAPIError
        )
        raise kind(None, None, error, hide_parameters=True) from error
