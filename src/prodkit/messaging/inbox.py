"""The inbox: which events were handled, recorded in the transaction of their effect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlalchemy import (
    Column,
    ColumnElement,
    Float,
    Index,
    MetaData,
    String,
    Table,
    and_,
    delete,
    literal,
    select,
    tuple_,
)

from prodkit.clock import SYSTEM_CLOCK, Clock, seconds
from prodkit.data.database import Transaction
from prodkit.data.unit_of_work import UnitOfWork, Work
from prodkit.errors import ConfigurationError
from prodkit.messaging.event import Event

metadata = MetaData()

inbox = Table(
    "inbox",
    metadata,
    Column("consumer", String(255), primary_key=True),
    Column("source", String(255), primary_key=True),
    Column("id", String(255), primary_key=True),
    Column("handled_at", Float, nullable=False),
)
Index("inbox_handled", inbox.c.handled_at)


class Inbox:
    """What one consumer has handled: a handler's writes take effect once per (source, id).

    That holds for `retention` seconds, which must exceed the longest time that an event can spend
    in queues and among dead letters. The table is that of this module's `metadata`, for
    `Database.create_all`.
    """

    def __init__(
        self, consumer: str, *, retention: float = 30 * 86400.0, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        if not consumer:
            raise ConfigurationError("consumer must name the one that handles the events")
        self.consumer = consumer
        self._retention = seconds("retention", retention)
        self._clock = clock

    async def first_time(self, tx: Transaction, event: Event) -> bool:
        """Record `event` in `tx`; False if it was recorded before, and nothing is to be done."""
        row = {"consumer": self.consumer, "source": event.source, "id": event.id}
        return await tx.insert_new(inbox, {**row, "handled_at": self._clock.wall()})

    async def seen(self, tx: Transaction, event: Event) -> bool:
        """Say whether `event` was recorded: for effects outside of the database, looked up first.

        Such an effect (a mail) can happen twice if the process dies before it is recorded.
        """
        found = await tx.execute(select(literal(1)).select_from(inbox).where(self._is(event)))
        return found.first() is not None

    def handler(
        self, units: UnitOfWork[Event], function: Callable[[Event, Work[Event]], Awaitable[None]]
    ) -> Callable[[Event], Awaitable[None]]:
        """Return a handler for a `Consumer` that runs `function` once per event, in a transaction.

        What `function` writes and records commits together with the inbox's row. After a conflict
        with another transaction both run again (`UnitOfWork.run`).
        """

        async def handle(event: Event) -> None:
            async def once(work: Work[Event]) -> None:
                if await self.first_time(work.tx, event):
                    await function(event, work)

            await units.run(once)

        return handle

    async def purge(self, tx: Transaction, /, *, limit: int = 1000) -> int:
        """Delete up to `limit` rows older than the retention; return how many."""
        key = (inbox.c.consumer, inbox.c.source, inbox.c.id)
        old = (
            select(*key)
            .where(inbox.c.handled_at < self._clock.wall() - self._retention)
            .limit(limit)
            .with_for_update(skip_locked=True)  # another process may purge too
        )
        return (await tx.execute(delete(inbox).where(tuple_(*key).in_(old)))).rowcount

    def _is(self, event: Event) -> ColumnElement[bool]:
        return and_(
            inbox.c.consumer == self.consumer,
            inbox.c.source == event.source,
            inbox.c.id == event.id,
        )
