"""Which relay serves which partitions of an outbox, when several processes share a database."""

from __future__ import annotations

from functools import cache
from math import ceil
from typing import Any

from sqlalchemy import (
    Column,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Update,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from prodkit.clock import Clock
from prodkit.data.database import Database, Transaction
from prodkit.data.database.transaction import now_of, now_values

#: Of the outbox too, which adds its table: whoever creates that creates these.
metadata = MetaData()

leases = Table(
    "outbox_lease",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("owner", String(64), nullable=False),
    Column("until", Float, nullable=False),
)
relays = Table(
    "outbox_relay",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("until", Float, nullable=False),
)


async def keep(
    database: Database, owner: str, partitions: int, lease: float, clock: Clock
) -> frozenset[int]:
    """Renew `owner`'s leases for `lease` seconds, and return its partitions, by one statement.

    Where something is to be shared out anew it changes none and returns none: that is for `renew`.
    """
    dialect = database.dialect
    values = {"me": owner, "partitions": partitions, "lease": lease, **now_values(dialect, clock)}
    known, kept = _keeping(dialect)
    if dialect == "postgresql":
        return frozenset((await database.execute(kept, values)).scalars())
    async with database.transaction() as tx:
        await tx.execute(known, values)
        return frozenset((await tx.execute(kept, values)).scalars())


@cache
def _keeping(dialect: str) -> tuple[Update, ReturningUpdate[Any]]:
    """Return what keeps a relay known, and what keeps its leases: on PostgreSQL with the former.

    Writing to `relays` it waits for whoever shares out (see `renew`), and sees what came of that.
    Then nobody can take what is kept: whoever shares out waits in turn.
    """
    now: Any = now_of(dialect)
    until = {"until": now + bindparam("lease")}
    known = update(relays).where(relays.c.owner == bindparam("me"), relays.c.until > now)
    known = known.values(until)
    all_leases, all_relays = leases.alias(), relays.alias()
    leased = func.count().filter(all_leases.c.until > now)
    mine = func.count().filter(all_leases.c.owner == bindparam("me"))
    living = select(func.count()).select_from(all_relays).where(all_relays.c.until > now)
    # All is leased, and this is no more than a fair share of it, rounded up.
    fair = select(
        (leased == bindparam("partitions"))
        & ((mine - 1) * living.scalar_subquery() < bindparam("partitions"))
    ).select_from(all_leases)
    kept = update(leases).where(leases.c.owner == bindparam("me"), fair.scalar_subquery())
    if dialect == "postgresql":
        kept = kept.where(exists(select(known.returning(relays.c.owner).cte("known").c.owner)))
    return known, kept.values(until).returning(leases.c.partition)


async def renew(
    tx: Transaction, owner: str, partitions: int, now: float, until: float
) -> frozenset[int]:
    """Renew `owner`'s leases and return its partitions: its fair share, once others let go.

    Call it only while nothing is being published: what is above the share is given up here.
    """
    if tx.dialect == "postgresql":
        # One after the other: each must see what the others hold, as with SQLite's one writer.
        await tx.execute(text("LOCK TABLE outbox_relay IN EXCLUSIVE MODE"))
    await tx.execute(delete(relays).where((relays.c.until <= now) | (relays.c.owner == owner)))
    await tx.execute(insert(relays).values(owner=owner, until=until))
    count = (await tx.execute(select(func.count()).select_from(relays))).scalar_one()
    share = ceil(partitions / count)
    rows = (await tx.execute(select(leases.c.partition, leases.c.owner, leases.c.until))).all()
    mine = sorted(row.partition for row in rows if row.owner == owner)
    others = {row.partition for row in rows if row.owner != owner and row.until > now}
    free = [each for each in range(partitions) if each not in others and each not in mine]
    held = (mine + free)[:share]
    await tx.execute(delete(leases).where((leases.c.owner == owner) | leases.c.partition.in_(held)))
    if held:
        rows_held = [{"partition": each, "owner": owner, "until": until} for each in held]
        await tx.execute(insert(leases), rows_held)
    return frozenset(held)


async def leave(tx: Transaction, owner: str) -> None:
    """Give up all of `owner`'s leases, so that others need not wait for their end."""
    await tx.execute(delete(leases).where(leases.c.owner == owner))
    await tx.execute(delete(relays).where(relays.c.owner == owner))
