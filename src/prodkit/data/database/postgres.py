"""PostgreSQL by asyncpg: a bounded pool, and an end to every wait for the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from prodkit.clock import seconds
from prodkit.data.database.engines import Engines, translate
from prodkit.data.database.postgres_errors import connecting, translated
from prodkit.errors import ConfigurationError

#: What drivers and platforms write before "://" and mean PostgreSQL.
SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
#: Seconds that the server gets to end a statement by itself before we hang up on it.
_GRACE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """Pool and time limits of a PostgreSQL database; times are seconds.

    At most `pool` + `overflow` connections; those above `pool` are closed when they come back,
    which costs more than it saves unless bursts are rare. `connect` bounds a connection's making.
    The server ends a `statement` that takes longer, one that waits for a `lock` longer, and a
    transaction that is `idle_in_transaction` longer. A server that says nothing (hung, or behind a
    dead network) is given up 0.25 seconds after `statement`: by default within 2 seconds. Long
    statements belong to a `Database` of their own. Keep `lock` above the server's deadlock_timeout
    (a second, unless set): below it, deadlocks read as rows that do not come free, which
    `UnitOfWork.run` does not repeat.
    """

    pool: int = 10
    overflow: int = 0
    connect: float = 1.5
    statement: float = 1.5
    lock: float = 1.25
    idle_in_transaction: float = 5.0

    def __post_init__(self) -> None:
        for option, least in (("pool", 1), ("overflow", 0)):
            value = getattr(self, option)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigurationError(f"{option} must be at least {least}, not {value!r}")
        for option in ("connect", "statement", "lock", "idle_in_transaction"):
            if seconds(option, getattr(self, option)) < 0.001:
                raise ConfigurationError(f"{option} must be at least 0.001 seconds")

    def server_settings(self, name: str) -> dict[str, str]:
        """Return what a connection asks of the server as it begins."""
        return {
            "application_name": name[:63],
            "statement_timeout": _milliseconds(self.statement),
            "lock_timeout": _milliseconds(self.lock),
            "idle_in_transaction_session_timeout": _milliseconds(self.idle_in_transaction),
        }


def _milliseconds(value: float) -> str:
    return str(round(value * 1000))


class Server:
    """Where a database is, and how to connect to it. Its repr holds no password."""

    def __init__(self, url: str, options: PostgresOptions, *, name: str) -> None:
        scheme, _, rest = url.partition("://")
        self._dsn = f"postgresql://{rest}"
        self.options = options
        self._name = name
        self.shown = _shown(rest)
        if scheme not in SCHEMES:
            raise ConfigurationError(
                f"{name}: a database is a path or sqlite+aiosqlite:///path or "
                f"postgresql://user:password@host:port/name, not {scheme}://..."
            )

    def __repr__(self) -> str:
        return self.shown

    def within(self, options: PostgresOptions) -> Server:
        """Return the same server, with other limits for connections to come."""
        return Server(self._dsn, options, name=self._name)

    async def connect(self) -> asyncpg.Connection:
        """Open a connection with the limits in force. Raises UnavailableError."""
        options = self.options
        with connecting(self._name, self.shown):
            connection: asyncpg.Connection = await asyncpg.connect(
                self._dsn,
                timeout=options.connect,
                command_timeout=options.statement + _GRACE,
                server_settings=options.server_settings(self._name),
                connection_class=_Connection,
            )
        return connection


class _Connection(asyncpg.Connection):
    """asyncpg's, which waits for the server in two places where we cannot."""

    async def close(self, *, timeout: float | None = None) -> None:
        """Say goodbye and hang up; a hung server would not answer."""
        asyncpg.Connection.terminate(self)

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Run a command; a COMMIT that the server turned into a ROLLBACK is an error.

        That is what it answers where a statement had failed and the program went on regardless.
        """
        status: str = await super().execute(query, *args, timeout=timeout)
        if status == "ROLLBACK" and query.upper().startswith("COMMIT"):
            raise asyncpg.InFailedSQLTransactionError(
                "nothing was committed: a statement of the transaction had failed"
            )
        return status


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
    return Engines(
        writer=engine,
        serializable=engine.execution_options(isolation_level="SERIALIZABLE"),
        reader=_reading(engine),
        writers=options.pool + options.overflow,
        readers=None,
        probe="SELECT 1",
    )


def _reading(engine: AsyncEngine) -> AsyncEngine:
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Have the pool connect anew where the server has hung up meanwhile; this asks nobody."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _shown(address: str) -> str:
    """Return user@host:port/name; whatever stands between the user and the last @ is secret."""
    credentials, at, place = address.rpartition("@")
    return f"postgresql://{credentials.partition(':')[0]}{at}{place.partition('?')[0]}"
