"""PostgreSQL by asyncpg: a bounded pool, and an end to every wait for the server."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event, literal, select
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from prodkit.data.database.engines import Engines, translate
from prodkit.data.database.postgres_errors import translated
from prodkit.data.database.postgres_options import PostgresOptions
from prodkit.data.database.postgres_server import Server


def postgres_engines(
    server: Server, options: PostgresOptions, *, name: str, wait: float
) -> Engines:
    """Return engines that share one pool; whoever reads has REPEATABLE READ, READ ONLY."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=server.connect,
        pool_size=options.pool,
        max_overflow=options.overflow,
        pool_timeout=wait,
        pool_use_lifo=True,  # what is not needed stays idle
        hide_parameters=True,
    )
    translate(engine, lambda context: translated(name, server.shown, context))
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    alone = engine.execution_options(isolation_level="AUTOCOMMIT")
    return Engines(
        writer=engine,
        serializable=engine.execution_options(isolation_level="SERIALIZABLE"),
        reader=_reading(engine),
        alone=alone,
        reading_alone=alone,
        writers=options.pool + options.overflow,
        readers=None,
        probe=select(literal(1)),
    )


def _reading(engine: AsyncEngine) -> AsyncEngine:
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Have the pool connect anew where the server has hung up meanwhile; this asks nobody."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError
