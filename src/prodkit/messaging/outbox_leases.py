"""Which relay serves which partitions of an outbox, when several processes share a database."""

from __future__ import annotations

from math import ceil

from sqlalchemy import (
    Column,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    text,
)

from prodkit.data.database import Transaction

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
