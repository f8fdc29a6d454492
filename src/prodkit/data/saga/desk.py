"""Sagas as an operator sees them: found, read, put back to work, given up."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, and_, select, tuple_, update

from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.data.database import Database, Transaction, time_expression
from prodkit.data.saga.definition import SagaStatus, both
from prodkit.data.saga.table import SagaRecord, record, sagas
from prodkit.errors import (
    AbortedError,
    ConfigurationError,
    FailedPreconditionError,
    NotFoundError,
)

_DONE = (SagaStatus.COMPLETED, SagaStatus.COMPENSATED)


@dataclass(frozen=True, slots=True)
class KeptSaga:
    """One saga, and when it began and was last written: Unix time."""

    record: SagaRecord
    began_at: float
    changed_at: float


class SagaDesk:
    """The sagas of one database, for operators and their tools; safe beside runners.

    What is running at this moment is left alone (FailedPreconditionError), and whatever changes
    between the look and the write too (AbortedError): nothing of a runner's is overwritten. All
    methods raise UnavailableError while the database is away.
    """

    def __init__(self, database: Database, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._clock = clock

    async def list(
        self,
        *,
        statuses: Collection[SagaStatus] = (),
        names: Collection[str] = (),
        older_than: float = 0.0,
        after: str = "",
        limit: int = 100,
    ) -> list[KeptSaga]:
        """Return sagas, oldest first: of these statuses and names, any where none is given.

        `older_than`: begun as many seconds ago, or earlier. `after`: begun after the saga of this
        id; NotFoundError where there is none.
        """
        async with self._database.read() as tx:
            statement = self._select(tx).order_by(sagas.c.created_at, sagas.c.id).limit(limit)
            if statuses:
                statement = statement.where(sagas.c.status.in_([each.value for each in statuses]))
            if names:
                statement = statement.where(sagas.c.saga.in_(names))
            if older_than > 0:
                now = time_expression(tx, self._clock)
                statement = statement.where(sagas.c.created_at <= now - older_than)
            if after:
                place = await self._get(tx, after)
                key = tuple_(sagas.c.created_at, sagas.c.id)
                statement = statement.where(key > (place.began_at, after))
            return [_kept(row) for row in (await tx.execute(statement)).all()]

    async def get(self, id_: str) -> KeptSaga:
        """Return one saga. Raises NotFoundError."""
        async with self._database.read() as tx:
            return await self._get(tx, id_)

    async def retry(self, id_: str, *, abandoned: bool = False) -> None:
        """Have a saga go on now from where it stands, attempts at zero.

        One that waits or needs attention, and with `abandoned` one that was given up: whoever did
        may have settled it by hand. Raises NotFoundError, AbortedError, and FailedPreconditionError
        for one that runs or is done.
        """
        async with self._database.transaction() as tx:
            found = (await self._at_rest(tx, id_, abandoned=abandoned)).record
            await self._change(tx, found, status=sagas.c.phase)

    async def abandon(self, id_: str, reason: str, *, compensate: bool = False) -> None:
        """Give a saga up: nothing is done for it any more, but by `retry`.

        With `compensate` its compensations run instead, from the step on at which it stands, and
        it ends as they do; one that compensates already goes on with that. Raises what `retry`
        does, and ConfigurationError without a `reason`, which the saga keeps.
        """
        if not reason.strip():
            raise ConfigurationError("reason must say why the saga is given up")
        async with self._database.transaction() as tx:
            found = (await self._at_rest(tx, id_)).record
            status = SagaStatus.COMPENSATING if compensate else SagaStatus.ABANDONED
            values = {"status": status.value, "reason": both(found.progress.reason, reason)}
            if compensate:
                values["phase"] = status.value
            await self._change(tx, found, **values)

    async def _at_rest(self, tx: Transaction, id_: str, *, abandoned: bool = False) -> KeptSaga:
        found = await self._get(tx, id_)
        one = found.record
        if one.status in _DONE:
            raise FailedPreconditionError(f"saga {id_} is {one.status.value}", reason="SAGA_DONE")
        if one.status is SagaStatus.ABANDONED and not abandoned:
            raise FailedPreconditionError(
                f"saga {id_} was abandoned: {one.progress.reason}; `retry --abandoned` brings it"
                " back",
                reason="SAGA_ABANDONED",
            )
        if one.lease_left > 0:
            raise FailedPreconditionError(
                f"saga {id_} is being run by {one.owner}; its lease ends in {one.lease_left:.0f} s"
                " if it says no more",
                reason="SAGA_RUNNING",
            )
        return found

    async def _change(self, tx: Transaction, found: SagaRecord, **values: Any) -> None:
        """Write `values` if nobody has touched the saga since it was found."""
        now = time_expression(tx, self._clock)
        same = and_(
            sagas.c.id == found.id,
            sagas.c.fence == found.fence,
            sagas.c.status == found.status.value,
            sagas.c.lease_until <= now,
        )
        again = {"attempts": 0, "next_attempt": now, "updated_at": now, "owner": ""}
        change = update(sagas).where(same).values(fence=sagas.c.fence + 1, **again, **values)
        if (await tx.execute(change)).rowcount == 0:
            raise AbortedError(f"saga {found.id} has changed meanwhile: look again")

    async def _get(self, tx: Transaction, id_: str) -> KeptSaga:
        row = (await tx.execute(self._select(tx).where(sagas.c.id == id_))).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no saga {id_}")
        return _kept(row)

    def _select(self, tx: Transaction) -> Select[Any]:
        return select(sagas, time_expression(tx, self._clock).label("now"))


def _kept(row: Row[Any]) -> KeptSaga:
    return KeptSaga(record(row), row.created_at, row.updated_at)
