"""Driving one saga: lease it, run step after step, record each, let go."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

from prodkit._tasks import complete
from prodkit.data.saga.steps import SagaSteps
from prodkit.data.saga.store import SagaStore
from prodkit.data.saga.table import SagaRecord
from prodkit.errors import AbortedError, UnavailableError


class SagaDriver:
    """Brings sagas of these `names` as far as they come now, one step after another."""

    def __init__(
        self, store: SagaStore, steps: SagaSteps, names: Collection[str], *, lease: float
    ) -> None:
        self._store = store
        self._steps = steps
        self._names = names
        self._lease = lease

    async def run(self, id_: str, held: SagaRecord | None = None) -> SagaRecord | None:
        """Run a saga until it rests, and return where it stands then.

        `held` is what is leased already. None where it was not due or belongs to somebody else.
        Raises UnavailableError, and AbortedError where the lease was lost: nobody knows then what
        was recorded last, nor whose the saga is, until the next look. Whoever is cancelled gives
        the lease back.
        """
        try:
            record = held or await self._store.acquire(id_, self._names, self._lease)
            while record is not None and not record.progress.rests:
                record = await self._advance(record)
        except asyncio.CancelledError:
            await complete(self._release(id_))
            raise
        return record and replace(record, owner="", lease_left=0.0)

    async def _advance(self, record: SagaRecord) -> SagaRecord:
        """Run one step and record what follows."""
        outcome = await self._steps.run(record)
        if outcome.recorded is not None:
            return outcome.recorded
        saving = self._store.save(record, outcome.progress, lease=self._lease)
        if not await complete(saving):
            raise AbortedError(f"saga {record.id} has another fence by now")
        return replace(record, progress=outcome.progress)

    async def _release(self, id_: str) -> None:
        try:
            await self._store.release(id_)
        except (UnavailableError, AbortedError):
            return  # then the lease ends by itself
