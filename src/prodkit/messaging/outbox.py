"""The outbox: events written in the transaction of the change that they tell of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zlib import crc32

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    delete,
    select,
)

from prodkit.call import current_call, new_request_id
from prodkit.clock import SYSTEM_CLOCK, Clock, seconds
from prodkit.data.database import Transaction
from prodkit.data.database.direct import DirectInsert
from prodkit.errors import ConfigurationError
from prodkit.messaging.event import Event
from prodkit.messaging.outbox_leases import metadata
from prodkit.telemetry.propagation import current_traceparent

__all__ = ["Outbox", "metadata", "outbox"]

# SQLite counts rows in 64 bits whatever they are called, if they are called INTEGER.
_SEQ = BigInteger().with_variant(Integer, "sqlite")

outbox = Table(
    "outbox",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("type", String(255), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("traceparent", String(64), nullable=False),
    Column("request_id", String(255), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("sent_at", Float),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt", Float, nullable=False, default=0.0),
    Column("error", String(500), nullable=False, default=""),
    sqlite_autoincrement=True,
)
_unsent = outbox.c.sent_at.is_(None)
# Sent rows, by far the most, cost these two nothing.
Index(
    "outbox_unsent",
    outbox.c.seq,
    outbox.c.partition,
    sqlite_where=_unsent,
    postgresql_where=_unsent,
)
Index(
    "outbox_unsent_subject",
    outbox.c.subject,
    outbox.c.seq,
    sqlite_where=_unsent,
    postgresql_where=_unsent,
)
Index("outbox_sent", outbox.c.sent_at)
_WRITTEN = (
    "id",
    "type",
    "subject",
    "partition",
    "body",
    "traceparent",
    "request_id",
    "created_at",
    "attempts",
    "next_attempt",
    "error",
)
_insert = DirectInsert(outbox, _WRITTEN)


class Outbox:
    """Where units of work leave their events; an `OutboxRelay` publishes them from there.

    `source` is the URI-reference of this service in its events. Events are spread over
    `partitions` by subject, so that several relays can share the work; never change that number
    while rows are unsent. Sent rows are kept for `retention` seconds, for who asks what was sent.
    Its tables are those of this module's `metadata`: `await database.create_all(outbox.metadata)`.

    The events of a subject are published in the order of their transactions where these exclude
    each other, as those do that begin by changing the subject's own row.
    """

    def __init__(
        self,
        source: str,
        *,
        partitions: int = 16,
        retention: float = 7 * 86400.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not source:
            raise ConfigurationError("source must name the service whose events these are")
        if partitions < 1:
            raise ConfigurationError(f"partitions must be at least 1, not {partitions!r}")
        self.source = source
        self.partitions = partitions
        self._retention = seconds("retention", retention)
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []

    async def append(self, tx: Transaction, events: Sequence[Event], /) -> None:
        """Write `events` in `tx`, with the trace and the request that they come from."""
        if events:
            await _insert(tx, [self._row(event) for event in events])

    def _row(self, event: Event) -> dict[str, object]:
        call = current_call()
        source, time = event.source or self.source, event.time or self._clock.wall()
        traceparent = event.traceparent or current_traceparent() or ""
        request_id = event.request_id or (call and call.request_id) or new_request_id()
        return {
            "id": event.id,
            "type": event.type,
            "subject": event.subject,
            # Not hash(): that differs from process to process.
            "partition": crc32(event.subject.encode()) % self.partitions,
            "body": event.document(source, time, traceparent, request_id),
            "traceparent": traceparent,
            "request_id": request_id,
            "created_at": time,
            "attempts": 0,
            "next_attempt": 0.0,
            "error": "",
        }

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit that left events here."""
        self._listeners.append(listener)

    def committed(self) -> None:
        """Wake the relay of this process; those of others find the rows by polling."""
        for listener in self._listeners:
            listener()

    async def purge(self, tx: Transaction, /, *, limit: int = 1000) -> int:
        """Delete up to `limit` sent rows older than the retention; return how many."""
        old = (
            select(outbox.c.seq)
            .where(outbox.c.sent_at < self._clock.wall() - self._retention)
            .limit(limit)
            .with_for_update(skip_locked=True)  # another process may purge too
        )
        return (await tx.execute(delete(outbox).where(outbox.c.seq.in_(old)))).rowcount
