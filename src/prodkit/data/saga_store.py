"""Where sagas are kept: one row each, written under a lease and its fence."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from prodkit._extras import extra

with extra("sql", of=__name__):
    import sqlalchemy  # noqa: F401

from sqlalchemy import (
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    delete,
    func,
    select,
    update,
)

from prodkit.data.database import Database, Transaction
from prodkit.data.saga import Progress, SagaStatus
from prodkit.errors import AlreadyExistsError

metadata = MetaData()

sagas = Table(
    "saga",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("saga", String(100), nullable=False),
    Column("status", String(20), nullable=False),
    Column("phase", String(20), nullable=False),
    Column("step", String(100), nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt", Float, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("traceparent", String(64), nullable=False),
    Column("request_id", String(255), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)
Index("saga_due", sagas.c.status, sagas.c.next_attempt)
_ACTIVE = (SagaStatus.RUNNING.value, SagaStatus.COMPENSATING.value)
_OVER = (SagaStatus.COMPLETED.value, SagaStatus.COMPENSATED.value)


@dataclass(frozen=True, slots=True)
class SagaRecord:
    """One saga as it is stored; times are Unix time. `lease_until` 0: nobody works on it."""

    id: str
    saga: str
    progress: Progress
    traceparent: str = ""
    request_id: str = ""
    fence: int = 0
    lease_until: float = 0.0

    @property
    def status(self) -> SagaStatus:
        """Where the saga is."""
        return self.progress.status

    @property
    def state(self) -> Mapping[str, Any]:
        """What its steps have returned so far, on top of what it began with."""
        return self.progress.state


class SagaStore:
    """Rows of sagas. Everything but `insert` and `purge` is a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, tx: Transaction, record: SagaRecord, now: float) -> None:
        """Begin a saga in the caller's transaction. Raises AlreadyExistsError."""
        row = {
            "id": record.id,
            "saga": record.saga,
            "fence": 0,
            "lease_until": 0.0,
            "traceparent": record.traceparent,
            "request_id": record.request_id,
            "created_at": now,
            "updated_at": now,
            **_columns(record.progress),
            "next_attempt": now,
        }
        if not await tx.insert_new(sagas, row):
            raise AlreadyExistsError(f"saga {record.id} has begun already")

    async def get(self, id_: str) -> SagaRecord | None:
        """Return one saga."""
        async with self._database.read() as tx:
            row = (await tx.execute(select(sagas).where(sagas.c.id == id_))).one_or_none()
        return None if row is None else _record(row)

    async def due(self, names: Collection[str], now: float, limit: int) -> list[str]:
        """Return the ids of sagas that somebody should work on now, the most overdue first."""
        statement = (
            select(sagas.c.id)
            .where(*_is_due(now), sagas.c.saga.in_(names))
            .order_by(sagas.c.next_attempt)
            .limit(limit)
        )
        async with self._database.read() as tx:
            return list((await tx.execute(statement)).scalars())

    async def acquire(
        self, id_: str, names: Collection[str], now: float, until: float
    ) -> SagaRecord | None:
        """Lease a saga that is due; None if it is not, or somebody else was faster."""
        mine = (sagas.c.id == id_, sagas.c.saga.in_(names), *_is_due(now))
        async with self._database.transaction() as tx:
            taken = await tx.execute(
                update(sagas).where(*mine).values(lease_until=until, fence=sagas.c.fence + 1)
            )
            if taken.rowcount == 0:
                return None
            return _record((await tx.execute(select(sagas).where(sagas.c.id == id_))).one())

    async def save(
        self, record: SagaRecord, progress: Progress, *, now: float, until: float
    ) -> bool:
        """Record progress and move the lease; False if the lease was lost, and nothing written."""
        async with self._database.transaction() as tx:
            done = await tx.execute(
                update(sagas)
                .where(sagas.c.id == record.id, sagas.c.fence == record.fence)
                .values(**_columns(progress), lease_until=until, updated_at=now)
            )
        return done.rowcount > 0

    async def release(self, record: SagaRecord) -> None:
        """Give the lease back, so that others need not wait for its end."""
        async with self._database.transaction() as tx:
            await tx.execute(
                update(sagas)
                .where(sagas.c.id == record.id, sagas.c.fence == record.fence)
                .values(lease_until=0.0)
            )

    async def resume(self, id_: str, now: float) -> bool:
        """Put a saga that needs attention back to work, where it stopped; say whether it did."""
        needy = (sagas.c.id == id_, sagas.c.status == SagaStatus.NEEDS_ATTENTION.value)
        async with self._database.transaction() as tx:
            done = await tx.execute(
                update(sagas)
                .where(*needy)
                .values(status=sagas.c.phase, attempts=0, next_attempt=now, lease_until=0.0)
            )
        return done.rowcount > 0

    async def counts(self) -> dict[SagaStatus, int]:
        """Return how many sagas there are in each status that is not the end of the story."""
        statement = (
            select(sagas.c.status, func.count().label("number"))
            .where(sagas.c.status.not_in(_OVER))
            .group_by(sagas.c.status)
        )
        async with self._database.read() as tx:
            rows = (await tx.execute(statement)).all()
        return {SagaStatus(row.status): row.number for row in rows}

    async def purge(self, tx: Transaction, before: float, limit: int) -> int:
        """Delete up to `limit` sagas that ended well before `before`; return how many."""
        old = (
            select(sagas.c.id)
            .where(sagas.c.status.in_(_OVER), sagas.c.updated_at < before)
            .limit(limit)
            .with_for_update(skip_locked=True)  # another process may purge too
        )
        return (await tx.execute(delete(sagas).where(sagas.c.id.in_(old)))).rowcount


def _is_due(now: float) -> tuple[Any, ...]:
    return (
        sagas.c.status.in_(_ACTIVE),
        sagas.c.next_attempt <= now,
        sagas.c.lease_until <= now,
    )


def _columns(progress: Progress) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "status": progress.status.value,
        "step": progress.step,
        "state": json.dumps(dict(progress.state), allow_nan=False),
        "attempts": progress.attempts,
        "next_attempt": progress.next_attempt,
        "reason": progress.reason,
    }
    if not progress.status.ended:
        columns["phase"] = progress.status.value
    return columns


def _record(row: Row[Any]) -> SagaRecord:
    return SagaRecord(
        id=row.id,
        saga=row.saga,
        progress=Progress(
            SagaStatus(row.status),
            row.step,
            json.loads(row.state),
            row.attempts,
            row.next_attempt,
            row.reason,
        ),
        traceparent=row.traceparent,
        request_id=row.request_id,
        fence=row.fence,
        lease_until=row.lease_until,
    )
