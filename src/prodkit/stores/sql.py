"""Idempotency keys in the service's own SQL database, beside the effects that they guard."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, TypeVar

from prodkit._extras import extra

with extra("sql", of=__name__):
    import sqlalchemy  # noqa: F401

from sqlalchemy import (
    Column,
    Double,
    LargeBinary,
    MetaData,
    String,
    Table,
    and_,
    bindparam,
    delete,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import Executable

from prodkit._tasks import complete
from prodkit.errors import ConfigurationError, UnavailableError
from prodkit.policies.claim import Record, Terms

T = TypeVar("T")

metadata = MetaData()

keys = Table(
    "idempotency_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("fence", String(64), nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("result", LargeBinary),  # NULL: running
)

_INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
#: Claims between two sweeps, and rows a sweep may take: twice as many as can have come.
_SWEEP_EVERY = 256
_SWEEP = 512
#: PostgreSQL's classes of errors that pass: connection, resources, operator, limits, conflicts.
_AWAY = frozenset({"08", "53", "55", "57", "58", "40"})


_HELD: Any = and_(
    keys.c.id == bindparam("key"), keys.c.fence == bindparam("held_by"), keys.c.result.is_(None)
)
_KEPT: Any = keys.c.expires_at > bindparam("now")
_READ = select(keys.c.fingerprint, keys.c.result).where(keys.c.id == bindparam("key"))
_EXTEND = (
    update(keys)
    .where(_HELD, _KEPT)
    .values(lease_until=bindparam("until"), expires_at=bindparam("expiry"))
)
_COMPLETE = (
    update(keys)
    .where(_HELD, _KEPT)
    .values(result=bindparam("answer"), expires_at=bindparam("expiry"))
)
_RELEASE = delete(keys).where(_HELD)
#: Another process may sweep too: rows that it holds are left to it.
_PURGE = delete(keys).where(
    keys.c.id.in_(
        select(keys.c.id)
        .where(keys.c.expires_at <= bindparam("now"))
        .limit(bindparam("rows"))
        .with_for_update(skip_locked=True)
    )
)


class SqlIdempotencyStore:
    """Keeps keys in table `idempotency_keys` of `metadata`, on SQLite or PostgreSQL.

    `engine` writes: for SQLite the one with a single connection and BEGIN IMMEDIATE. Claims and
    heartbeats are short transactions of their own, so a handler must not be called while its
    caller holds that connection. `claim.complete(tx, ...)` takes the AsyncConnection of the
    handler's transaction, which is on the same database. Answers past their retention are swept
    as claims come, at most 512 every 256 claims; `purge` does it at once. Raises UnavailableError
    when the database cannot be reached, or not in the time that the engine allows.
    """

    transactional: ClassVar[bool] = True

    def __init__(self, engine: AsyncEngine) -> None:
        insert = _INSERT.get(engine.dialect.name)
        if insert is None:
            raise ConfigurationError(
                f"SqlIdempotencyStore speaks {' and '.join(_INSERT)}, not {engine.dialect.name}"
            )
        # There a statement on its own needs no BEGIN and no COMMIT: one round trip, not three.
        alone = engine.dialect.name == "postgresql"
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT") if alone else engine
        self._claim = _claim_statement(insert)
        self._claims = 0

    async def claim(
        self, key: str, fingerprint: bytes, fence: str, *, now: float, terms: Terms
    ) -> Record | None:
        """Claim `key` if it is free; see IdempotencyStore."""
        await self._sweep(now)
        values: dict[str, object] = {"key": key, "print": fingerprint, "held_by": fence, "now": now}
        values |= {"until": now + terms.lease, "expiry": now + terms.retention}

        async def claim(tx: AsyncConnection) -> Record | bool:
            if await _changed(tx, self._claim, values):
                return True
            row = (await tx.execute(_READ, {"key": key})).one_or_none()
            return Record(row.fingerprint, row.result) if row else False

        while True:
            found = await self._transact(claim)
            if isinstance(found, Record):
                return found
            if found:
                return None
            # PostgreSQL: released or purged between the two statements, so that it is free now

    async def extend(self, key: str, fence: str, *, now: float, terms: Terms) -> bool:
        """Renew the lease if `fence` still holds it; see IdempotencyStore."""
        values: dict[str, object] = {"key": key, "held_by": fence, "now": now}
        values |= {"until": now + terms.lease, "expiry": now + terms.retention}
        return await self._transact(lambda tx: _changed(tx, _EXTEND, values))

    async def complete(
        self, key: str, fence: str, result: bytes, *, now: float, terms: Terms, tx: object = None
    ) -> bool:
        """Keep `result` if `fence` still holds the key, in `tx` if given; see IdempotencyStore."""
        values: dict[str, object] = {"key": key, "held_by": fence, "answer": result}
        values |= {"now": now, "expiry": now + terms.retention}
        if tx is None:
            return await self._transact(lambda own: _changed(own, _COMPLETE, values))
        if not isinstance(tx, AsyncConnection):
            raise TypeError(f"tx must be the transaction's AsyncConnection, not {tx!r}")
        return await _changed(tx, _COMPLETE, values)

    async def release(self, key: str, fence: str) -> None:
        """Make a running key free; see IdempotencyStore."""
        values: dict[str, object] = {"key": key, "held_by": fence}
        await self._transact(lambda tx: _changed(tx, _RELEASE, values))

    async def purge(self, now: float, *, rows: int = 10_000) -> int:
        """Delete up to `rows` keys whose retention is over at Unix time `now`; return how many."""

        async def purge(tx: AsyncConnection) -> int:
            return (await tx.execute(_PURGE, {"now": now, "rows": rows})).rowcount

        return await self._transact(purge)

    async def _sweep(self, now: float) -> None:
        self._claims += 1
        if self._claims % _SWEEP_EVERY == 0:
            await self.purge(now, rows=_SWEEP)

    async def _transact(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run `work` in a transaction of its own, to its end whoever is cancelled meanwhile.

        On PostgreSQL each of its statements is one. A statement cut short would cost the writer
        its connection, and leave open what it did.
        """
        return await complete(self._begin(work))

    async def _begin(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        try:
            async with self._engine.begin() as tx:
                return await work(tx)
        except (DBAPIError, PoolTimeoutError, OSError, UnavailableError) as error:
            if isinstance(error, DBAPIError) and not _is_away(error):
                raise
            raise UnavailableError(
                "the idempotency store is away", reason="IDEMPOTENCY_STORE_AWAY", retry_after=1.0
            ) from error


def _is_away(error: DBAPIError) -> bool:
    """Tell a database that cannot serve from a statement that is wrong (a missing table...)."""
    state = getattr(error.orig, "sqlstate", None)  # PostgreSQL's
    if error.connection_invalidated or state is not None:
        return error.connection_invalidated or str(state)[:2] in _AWAY
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    # sqlite3 calls a missing table operational too.
    return getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR


def _claim_statement(insert: Any) -> Executable:
    now: Any = bindparam("now")
    fresh = insert(keys).values(
        id=bindparam("key"),
        fingerprint=bindparam("print"),
        fence=bindparam("held_by"),
        lease_until=bindparam("until"),
        expires_at=bindparam("expiry"),
        result=None,
    )
    new = fresh.excluded
    abandoned = and_(
        keys.c.result.is_(None), keys.c.lease_until <= now, keys.c.fingerprint == new.fingerprint
    )
    statement: Executable = fresh.on_conflict_do_update(
        index_elements=[keys.c.id],
        set_={column.name: new[column.name] for column in keys.c if not column.primary_key},
        where=or_(keys.c.expires_at <= now, abandoned),
    )
    return statement


async def _changed(tx: AsyncConnection, statement: Executable, values: dict[str, object]) -> bool:
    return (await tx.execute(statement, values)).rowcount == 1
