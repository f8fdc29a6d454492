"""What a runner does with the rows of sagas: each is written under a lease and its fence."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import Executable, delete, select

from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.data.database import Database, Transaction, time_expression
from prodkit.data.database.transaction import now_values
from prodkit.data.saga.definition import Progress, SagaStatus
from prodkit.data.saga.statements import COUNTS, EVICT, RELEASE, statements
from prodkit.data.saga.table import OVER, SagaRecord, columns, metadata, record, sagas
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
        self._say = statements(database.dialect)

    def keeps(self, tx: Transaction) -> bool:
        """Say whether `tx` can write these rows: it is one of this database's."""
        return tx.connection.sync_engine.pool is self.database.writer.sync_engine.pool

    async def insert(self, tx: Transaction, new: SagaRecord, *, lease: float = 0.0) -> None:
        """Begin a saga in the caller's transaction, leased for `lease` seconds or free.

        Raises AlreadyExistsError.
        """
        row = {
            "id": new.id,
            "saga": new.saga,
            "steps": json.dumps(new.steps),
            "fence": new.fence,
            "traceparent": new.traceparent,
            "request_id": new.request_id,
            **columns(new.progress),
            **self._lease(lease),
        }
        done = await tx.execute(self._say.beginning[lease > 0], self._now(row))
        if done.rowcount == 0:
            raise AlreadyExistsError(f"saga {new.id} has begun already")

    async def get(self, id_: str) -> SagaRecord | None:
        """Return one saga."""
        row = (await self.database.fetch(self._say.get, self._now({"key": id_}))).one_or_none()
        return None if row is None else record(row)

    async def due(self, names: Collection[str], limit: int) -> list[str]:
        """Return the ids of sagas that somebody should work on now, the most overdue first."""
        values = self._now({"names": list(names), "rows": limit})
        return list((await self.database.fetch(self._say.due, values)).scalars())

    async def acquire(self, id_: str, names: Collection[str], lease: float) -> SagaRecord | None:
        """Lease a saga that is due; None if it is not, or somebody else was faster.

        What this owner has leased before is free to it: it runs a saga once at a time.
        """
        values = {"key": id_, "names": list(names), "by": self.owner, "lease": lease}
        row = (await self.database.execute(self._say.acquire, self._now(values))).one_or_none()
        return None if row is None else record(row)

    async def save(self, held: SagaRecord, progress: Progress, *, lease: float) -> bool:
        """Record progress and go on for `lease` seconds, or let go; False if the lease was lost."""
        statement, values = self._saving(held, progress, held.fence, lease)
        return (await self.database.execute(statement, values)).rowcount > 0

    async def record(
        self, tx: Transaction, held: SagaRecord, progress: Progress, *, lease: float
    ) -> bool:
        """Do the same in `tx`, under the next fence.

        So that whoever does not hear whether `tx` was committed cannot write over it.
        """
        statement, values = self._saving(held, progress, held.fence + 1, lease)
        return (await tx.execute(statement, values)).rowcount > 0

    async def release(self, id_: str) -> None:
        """Give the lease back, so that others need not wait for its end."""
        await self.database.execute(RELEASE, {"key": id_, "by": self.owner})

    async def evict(self, owners: Collection[str]) -> None:
        """End the leases of `owners`, who are dead."""
        await self.database.execute(EVICT, {"owners": list(owners)})

    async def counts(self) -> dict[SagaStatus, int]:
        """Return how many sagas there are in each status that is not the end of the story."""
        rows = (await self.database.fetch(COUNTS)).all()
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

    def _saving(
        self, held: SagaRecord, progress: Progress, fence: int, lease: float
    ) -> tuple[Executable, dict[str, Any]]:
        length = 0.0 if progress.rests else lease
        values = {"key": held.id, "held": held.fence, "fence": fence, "wait": progress.wait}
        values |= columns(progress) | self._lease(length)
        return self._say.saving[length > 0], self._now(values)

    def _lease(self, length: float) -> dict[str, Any]:
        return {"owner": self.owner, "lease": length} if length > 0 else {"owner": ""}

    def _now(self, values: dict[str, Any]) -> dict[str, Any]:
        return values | now_values(self.database.dialect, self._clock)
