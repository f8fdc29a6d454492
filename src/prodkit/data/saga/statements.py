"""What is said to a database about sagas, made once: the building costs more than the running."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import Executable, and_, bindparam, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from prodkit.data.database.transaction import now_of
from prodkit.data.saga.table import ACTIVE, OVER, sagas

_INSERT: Mapping[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_KEY: Any = sagas.c.id == bindparam("key")
_FREE = {"lease_until": 0.0, "owner": ""}


class SagaStatements:
    """The statements of one dialect. What is not named here are columns, by their names.

    `now` is a parameter of those that know the time, where `now_of` says so. `beginning` and
    `saving` are two each: without and with a lease, which lasts `lease` seconds.
    """

    def __init__(self, dialect: str) -> None:
        now: Any = now_of(dialect)
        until = {"lease_until": now + bindparam("lease")}
        read = (*sagas.c, now.label("now"))
        waits = and_(sagas.c.status.in_(ACTIVE), sagas.c.next_attempt <= now)
        named = sagas.c.saga.in_(bindparam("names", expanding=True))

        begun = _INSERT[dialect](sagas).values(created_at=now, updated_at=now, next_attempt=now)
        self.beginning = (
            begun.values(lease_until=0.0).on_conflict_do_nothing(),
            begun.values(**until).on_conflict_do_nothing(),
        )
        saved = (
            update(sagas)
            .where(_KEY, sagas.c.fence == bindparam("held"))
            .values(next_attempt=now + bindparam("wait"), updated_at=now)
        )
        self.saving = saved.values(lease_until=0.0), saved.values(**until)
        self.get = select(*read).where(_KEY)
        self.due = (
            select(sagas.c.id)
            .where(waits, sagas.c.lease_until <= now, named)
            .order_by(sagas.c.next_attempt)
            .limit(bindparam("rows"))
        )
        free = or_(sagas.c.lease_until <= now, sagas.c.owner == bindparam("by"))
        self.acquire: Executable = (
            update(sagas)
            .where(_KEY, named, waits, free)
            .values(fence=sagas.c.fence + 1, owner=bindparam("by"), **until)
            .returning(*read)
        )


RELEASE = update(sagas).where(_KEY, sagas.c.owner == bindparam("by")).values(_FREE)
EVICT = (
    update(sagas)
    .where(sagas.c.status.in_(ACTIVE), sagas.c.owner.in_(bindparam("owners", expanding=True)))
    .values(_FREE)
)
COUNTS = (
    select(sagas.c.status, func.count().label("number"))
    .where(sagas.c.status.not_in(OVER))
    .group_by(sagas.c.status)
)


@cache
def statements(dialect: str) -> SagaStatements:
    """Return those of a dialect."""
    return SagaStatements(dialect)
