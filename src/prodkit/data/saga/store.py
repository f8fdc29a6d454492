"""What a runner does with the rows of sagas: each is written under a lease and its fence."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import and_, delete, func, or_, select, update

from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.data.database import Database, Transaction, time_expression
from prodkit.data.saga.definition import Progress, SagaStatus
from prodkit.data.saga.table import ACTIVE, OVER, SagaRecord, columns, metadata, record, sagas
from prodkit.errors import AlreadyExistsError

__all__ = ["SagaRecord", "SagaStore", "metadata", "sagas"]


class SagaStore:
    """Rows of sagas, leased by `owner`.

    All times are read and written by the clock of the PostgreSQL server, or of the machine for
    SQLite, so that processes whose clocks differ agree. What takes no `tx` is a transaction of its
    own.
    """

    def __init__(self, database: Database, *, owner: str = "", clock: Clock = SYSTEM_CLOCK) -> None:
        self.database = database
        self.owner = owner
        self._clock = clock

    def keeps(self, tx: Transaction) -> bool:
        """Say whether `tx` can write these rows: it is one of this database's."""
        return tx.connection.sync_engine.pool is self.database.writer.sync_engine.pool

    async def insert(self, tx: Transaction, new: SagaRecord, *, lease: float = 0.0) -> None:
        """Begin a saga in the caller's transaction, leased for `lease` seconds or free.

        Raises AlreadyExistsError.
        """
        now = time_expression(tx, self._clock)
        row = {
            "id": new.id,
            "saga": new.saga,
            "steps": json.dumps(new.steps),
            "fence": new.fence,
            "traceparent": new.traceparent,
            "request_id": new.request_id,
            "created_at": now,
            "updated_at": now,
            **columns(new.progress),
            "next_attempt": now,
            **self._lease(now, lease),
        }
        if not await tx.insert_new(sagas, row):
            raise AlreadyExistsError(f"saga {new.id} has begun already")

    async def get(self, id_: str) -> SagaRecord | None:
        """Return one saga."""
        async with self.database.read() as tx:
            statement = select(sagas, self._now(tx)).where(sagas.c.id == id_)
            row = (await tx.execute(statement)).one_or_none()
        return None if row is None else record(row)

    async def due(self, names: Collection[str], limit: int) -> list[str]:
        """Return the ids of sagas that somebody should work on now, the most overdue first."""
        async with self.database.read() as tx:
            now = time_expression(tx, self._clock)
            statement = (
                select(sagas.c.id)
                .where(_waits(now), sagas.c.lease_until <= now, sagas.c.saga.in_(names))
                .order_by(sagas.c.next_attempt)
                .limit(limit)
            )
            return list((await tx.execute(statement)).scalars())

    async def acquire(self, id_: str, names: Collection[str], lease: float) -> SagaRecord | None:
        """Lease a saga that is due; None if it is not, or somebody else was faster.

        What this owner has leased before is free to it: it runs a saga once at a time.
        """
        async with self.database.transaction() as tx:
            now = time_expression(tx, self._clock)
            free = or_(sagas.c.lease_until <= now, sagas.c.owner == self.owner)
            statement = (
                update(sagas)
                .where(sagas.c.id == id_, sagas.c.saga.in_(names), _waits(now), free)
                .values(fence=sagas.c.fence + 1, **self._lease(now, lease))
            )
            taken = await tx.execute(statement.returning(*sagas.c, self._now(tx)))
            row = taken.one_or_none()
        return None if row is None else record(row)

    async def save(self, held: SagaRecord, progress: Progress, *, lease: float) -> bool:
        """Record progress and go on for `lease` seconds, or let go; False if the lease was lost."""
        async with self.database.transaction() as tx:
            return await self._write(tx, held, progress, held.fence, lease)

    async def record(
        self, tx: Transaction, held: SagaRecord, progress: Progress, *, lease: float
    ) -> bool:
        """Do the same in `tx`, under the next fence.

        So that whoever does not hear whether `tx` was committed cannot write over it.
        """
        return await self._write(tx, held, progress, held.fence + 1, lease)

    async def release(self, id_: str) -> None:
        """Give the lease back, so that others need not wait for its end."""
        mine = (sagas.c.id == id_, sagas.c.owner == self.owner)
        async with self.database.transaction() as tx:
            await tx.execute(update(sagas).where(*mine).values(lease_until=0.0, owner=""))

    async def evict(self, owners: Collection[str]) -> None:
        """End the leases of `owners`, who are dead."""
        held = (sagas.c.status.in_(ACTIVE), sagas.c.owner.in_(owners))
        async with self.database.transaction() as tx:
            await tx.execute(update(sagas).where(*held).values(lease_until=0.0, owner=""))

    async def counts(self) -> dict[SagaStatus, int]:
        """Return how many sagas there are in each status that is not the end of the story."""
        statement = (
            select(sagas.c.status, func.count().label("number"))
            .where(sagas.c.status.not_in(OVER))
            .group_by(sagas.c.status)
        )
        async with self.database.read() as tx:
            rows = (await tx.execute(statement)).all()
        return {SagaStatus(row.status): row.number for row in rows}

    async def purge(self, tx: Transaction, age: float, limit: int) -> int:
        """Delete up to `limit` sagas that ended `age` seconds ago or earlier; return how many.

        Those that need attention are kept.
        """
        before = time_expression(tx, self._clock) - age
        old = (
            select(sagas.c.id)
            .where(sagas.c.status.in_(OVER), sagas.c.updated_at < before)
            .limit(limit)
            .with_for_update(skip_locked=True)  # another process may purge too
        )
        return (await tx.execute(delete(sagas).where(sagas.c.id.in_(old)))).rowcount

    async def _write(
        self, tx: Transaction, held: SagaRecord, progress: Progress, fence: int, lease: float
    ) -> bool:
        now = time_expression(tx, self._clock)
        done = await tx.execute(
            update(sagas)
            .where(sagas.c.id == held.id, sagas.c.fence == held.fence)
            .values(
                **columns(progress),
                fence=fence,
                next_attempt=now + progress.wait,
                updated_at=now,
                **self._lease(now, 0.0 if progress.rests else lease),
            )
        )
        return done.rowcount > 0

    def _lease(self, now: Any, length: float) -> dict[str, Any]:
        if length == 0.0:
            return {"owner": "", "lease_until": 0.0}
        return {"owner": self.owner, "lease_until": now + length}

    def _now(self, tx: Transaction) -> Any:
        return time_expression(tx, self._clock).label("now")


def _waits(now: Any) -> Any:
    return and_(sagas.c.status.in_(ACTIVE), sagas.c.next_attempt <= now)
