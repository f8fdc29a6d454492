"""What waits in an outbox: the figures that tell when publishing falls behind."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from prodkit.clock import Clock
from prodkit.data.database import Database
from prodkit.messaging.outbox import outbox

_WAITING = select(
    func.count().label("pending"),
    func.min(outbox.c.created_at).label("oldest"),
    func.count().filter(outbox.c.attempts > 0).label("failing"),
).where(outbox.c.sent_at.is_(None))


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in an outbox: how many events, the age of the oldest in seconds, how many fail."""

    pending: int = 0
    age: float = 0.0
    failing: int = 0


async def read_backlog(database: Database, clock: Clock) -> Backlog:
    """Return what waits now. Events were stamped by the clocks of those who recorded them."""
    row = (await database.fetch(_WAITING)).one()
    age = max(0.0, clock.wall() - row.oldest) if row.pending else 0.0
    return Backlog(row.pending, age, row.failing)
