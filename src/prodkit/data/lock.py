"""A lock in the service's database, with a token by which those who outlived it are known."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

from prodkit._extras import extra

with extra("sql", of=__name__):
    import sqlalchemy  # noqa: F401

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    MetaData,
    String,
    Table,
    bindparam,
    case,
    cast,
    delete,
    func,
    select,
)
from sqlalchemy import update as change
from sqlalchemy.dialects import postgresql, sqlite

from prodkit.clock import SYSTEM_CLOCK, Clock, seconds
from prodkit.data.database import Database, Transaction, shared_time
from prodkit.data.database.transaction import now_of, now_values
from prodkit.errors import AbortedError

metadata = MetaData()

locks = Table(
    "lock",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("until", Double, nullable=False, index=True),  # 0: free
)

_INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
#: Seconds beyond its lease for which the last token is known: how far the clock may be set back.
_MEMORY = 7 * 86_400.0


class _Statements:
    """What is said about locks in one dialect, made once."""

    def __init__(self, dialect: str) -> None:
        now: Any = now_of(dialect)
        until = now + bindparam("lease")
        mine = (
            locks.c.name == bindparam("named"),
            locks.c.token == bindparam("held"),
            locks.c.until > now,
        )
        fresh = _INSERT[dialect](locks).values(
            name=bindparam("named"), token=cast(func.round(now * 1000), BigInteger), until=until
        )
        token = fresh.excluded.token
        self.acquire = fresh.on_conflict_do_update(
            index_elements=[locks.c.name],
            set_={
                "token": case((locks.c.token >= token, locks.c.token + 1), else_=token),
                "until": fresh.excluded.until,
            },
            where=locks.c.until <= now,
        ).returning(locks.c.token)
        self.renew = change(locks).where(*mine).values(until=until)
        self.release = change(locks).where(*mine).values(until=0.0)


_statements = cache(_Statements)


class SqlLock:
    """Locks by name, each held by one at a time for a lease, with a fencing token.

    A holder that is paused (a garbage collection, a suspended machine) outlives its lease and does
    not know. So each `acquire` returns a token that is higher than all before it. What writes to
    the same database calls `guard` in its transaction, and nothing stale is ever committed; what
    writes elsewhere takes the token along, and refuses a lower one than it has seen. Where neither
    is done the lock saves work and no more.

    Leases go by the clock of the PostgreSQL server, or of the machine for SQLite. Tokens grow by
    that clock too, and by one at least. The table is that of this module's `metadata`.
    """

    def __init__(self, database: Database, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._clock = clock
        self._say = _statements(database.dialect)

    async def acquire(self, name: str, lease: float | timedelta) -> int | None:
        """Take the lock for `lease` seconds; return the token, or None while somebody has it.

        Raises UnavailableError, as all methods do while the database is away; the lock may have
        been taken then, and is free again when its lease ends.
        """
        values = {"named": name, "lease": seconds("lease", lease), **self._now()}
        found = await self._database.execute(self._say.acquire, values)
        return found.scalar_one_or_none()

    async def renew(self, name: str, token: int, lease: float | timedelta) -> bool:
        """Hold the lock for `lease` seconds from now; False if `token` holds it no more."""
        values = {"named": name, "held": token, "lease": seconds("lease", lease), **self._now()}
        return (await self._database.execute(self._say.renew, values)).rowcount > 0

    async def release(self, name: str, token: int) -> bool:
        """Let the lock go; False if `token` held it no more."""
        values = {"named": name, "held": token, **self._now()}
        return (await self._database.execute(self._say.release, values)).rowcount > 0

    def _now(self) -> dict[str, float]:
        return now_values(self._database.dialect, self._clock)

    async def guard(self, tx: Transaction, name: str, token: int) -> None:
        """Have `tx` commit only if nobody has taken the lock since; nobody can until it ends.

        `tx` must be one that writes. Raises AbortedError.
        """
        found = await tx.execute(
            select(locks.c.token).where(locks.c.name == name).with_for_update(read=True)
        )
        if found.scalar_one_or_none() != token:
            raise AbortedError(f"the lock {name} was lost to another holder", reason="LOCK_LOST")

    async def purge(self, tx: Transaction, /, *, limit: int = 1000) -> int:
        """Delete up to `limit` locks that nobody has held for a week; return how many."""
        now = await shared_time(tx, self._clock)
        old = (
            select(locks.c.name)
            .where(locks.c.until < now - _MEMORY, locks.c.token < (now - _MEMORY) * 1000)
            .limit(limit)
            .with_for_update(skip_locked=True)  # another process may purge too
        )
        return (await tx.execute(delete(locks).where(locks.c.name.in_(old)))).rowcount
