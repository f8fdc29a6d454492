"""The unit of work: a change and the events about it, committed together or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import CursorResult, Executable
from sqlalchemy.ext.asyncio import AsyncConnection

from prodkit.data.database import Database, Transaction

E = TypeVar("E")
E_contra = TypeVar("E_contra", contravariant=True)


class EventStore(Protocol[E_contra]):
    """Where a unit of work leaves its events: an outbox."""

    async def append(self, tx: Transaction, events: Sequence[E_contra], /) -> None:
        """Write `events`, in order, in the transaction `tx`."""

    def committed(self) -> None:
        """Hear that a transaction with new events has been committed."""


class Work(Generic[E]):
    """One unit of work, open: statements to execute and events to record."""

    __slots__ = ("events", "tx")

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx
        self.events: list[E] = []

    @property
    def connection(self) -> AsyncConnection:
        """SQLAlchemy's connection, in the transaction."""
        return self.tx.connection

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run one statement; a list of parameters runs it once for each."""
        return await self.tx.execute(statement, parameters)

    def record(self, *events: E) -> None:
        """Have `events` published if, and only if, this unit of work commits."""
        self.events.extend(events)


class UnitOfWork(Generic[E]):
    """Opens units of work on one database: `async with units() as work: ...`.

    The end of the block writes the recorded events and commits; an exception rolls all of it back.
    """

    __slots__ = ("database", "store")

    def __init__(self, database: Database, store: EventStore[E]) -> None:
        self.database = database
        self.store = store

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Work[E]]:
        """Open one unit of work. Raises UnavailableError."""
        async with self.database.transaction() as tx:
            work: Work[E] = Work(tx)
            yield work
            if work.events:
                await self.store.append(tx, work.events)
        if work.events:
            self.store.committed()
