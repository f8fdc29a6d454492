"""The database of one service, SQLite or PostgreSQL by its URL, and its transactions."""

from prodkit._extras import extra

with extra("sql", of=__name__):
    import asyncpg  # noqa: F401
    import sqlalchemy  # noqa: F401

from prodkit.data.database.database import Database
from prodkit.data.database.postgres_options import PostgresOptions
from prodkit.data.database.transaction import (
    Transaction,
    TransactionConflictError,
    shared_time,
    time_expression,
)

__all__ = [
    "Database",
    "PostgresOptions",
    "Transaction",
    "TransactionConflictError",
    "shared_time",
    "time_expression",
]
