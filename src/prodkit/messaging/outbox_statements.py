"""What a relay says to its database at every turn, made once."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Select, Update, bindparam, exists, select, update

from prodkit.data.database.transaction import now_of
from prodkit.messaging.outbox import outbox


@cache
def next_events(dialect: str) -> Select[*tuple[Any, ...]]:
    """Read up to `rows` events of `partitions` whose subject no earlier one that waits holds."""
    earlier = outbox.alias()
    held = exists().where(
        earlier.c.subject == outbox.c.subject,
        earlier.c.sent_at.is_(None),
        earlier.c.seq <= outbox.c.seq,
        earlier.c.next_attempt > now_of(dialect),
    )
    mine = outbox.c.partition.in_(bindparam("partitions", expanding=True))
    waiting = select(outbox).where(outbox.c.sent_at.is_(None), mine, ~held)
    return waiting.order_by(outbox.c.seq).limit(bindparam("rows"))


@cache
def mark_sent(dialect: str) -> Update:
    """Mark the rows of the numbers `sent`."""
    done = outbox.c.seq.in_(bindparam("sent", expanding=True))
    return update(outbox).where(done).values(sent_at=now_of(dialect))
