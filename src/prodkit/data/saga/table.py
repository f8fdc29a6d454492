"""The table of sagas, one row each, and what a row says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prodkit._extras import extra

with extra("sql", of=__name__):
    import sqlalchemy  # noqa: F401

from sqlalchemy import Column, Float, Index, Integer, MetaData, Row, String, Table, Text

from prodkit.data.saga.definition import Progress, SagaStatus

metadata = MetaData()

sagas = Table(
    "saga",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("saga", String(100), nullable=False),
    Column("steps", Text, nullable=False),
    Column("status", String(20), nullable=False),
    Column("phase", String(20), nullable=False),
    Column("step", String(100), nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt", Float, nullable=False),
    Column("error", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("owner", String(255), nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("traceparent", String(64), nullable=False),
    Column("request_id", String(255), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)
Index("saga_due", sagas.c.status, sagas.c.next_attempt)
#: Statuses in which there is something to do, and those in which nobody needs to look any more.
ACTIVE = (SagaStatus.RUNNING.value, SagaStatus.COMPENSATING.value)
OVER = (SagaStatus.COMPLETED.value, SagaStatus.COMPENSATED.value, SagaStatus.ABANDONED.value)


@dataclass(frozen=True, slots=True)
class SagaRecord:
    """One saga as it is stored.

    `owner` works on it, for `lease_left` seconds if it says no more; 0: nobody does. The names of
    `steps` are those that it began with.
    """

    id: str
    saga: str
    progress: Progress
    steps: tuple[str, ...] = ()
    traceparent: str = ""
    request_id: str = ""
    fence: int = 0
    owner: str = ""
    lease_left: float = 0.0

    @property
    def status(self) -> SagaStatus:
        """Where the saga is."""
        return self.progress.status

    @property
    def state(self) -> Mapping[str, Any]:
        """What its steps have returned so far, on top of what it began with."""
        return self.progress.state


def as_kept(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what JSON makes of `values`, as it is read later. Raises TypeError, ValueError."""
    kept: dict[str, Any] = json.loads(json.dumps(dict(values or {}), allow_nan=False))
    return kept


def columns(progress: Progress) -> dict[str, Any]:
    """Return the columns of `progress`, but for the time of the next attempt."""
    found: dict[str, Any] = {
        "status": progress.status.value,
        "step": progress.step,
        "state": json.dumps(dict(progress.state), allow_nan=False),
        "attempts": progress.attempts,
        "error": progress.error,
        "reason": progress.reason,
    }
    if not progress.status.ended:
        found["phase"] = progress.status.value
    return found


def record(row: Row[Any]) -> SagaRecord:
    """Return what `row` says; it has the time of its reading in a column `now`."""
    return SagaRecord(
        id=row.id,
        saga=row.saga,
        progress=Progress(
            SagaStatus(row.status),
            row.step,
            json.loads(row.state),
            row.attempts,
            max(0.0, row.next_attempt - row.now),
            row.error,
            row.reason,
        ),
        steps=tuple(json.loads(row.steps)),
        traceparent=row.traceparent,
        request_id=row.request_id,
        fence=row.fence,
        owner=row.owner,
        lease_left=max(0.0, row.lease_until - row.now),
    )
