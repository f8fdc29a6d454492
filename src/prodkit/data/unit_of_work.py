"""The unit of work: a change and the events about it, committed together or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import random
from typing import Any, Generic, Protocol, TypeVar

from prodkit._extras import extra

with extra("sql", of=__name__):
    import sqlalchemy  # noqa: F401

from sqlalchemy import CursorResult, Executable
from sqlalchemy.ext.asyncio import AsyncConnection

from prodkit.call import current_call
from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.data.database import Database, Transaction, TransactionConflictError
from prodkit.errors import ConfigurationError

E = TypeVar("E")
T = TypeVar("T")
E_contra = TypeVar("E_contra", contravariant=True)

#: Seconds before the second attempt, doubled for each one more, and their limit.
_PAUSE = 0.01
_PAUSE_MAX = 0.2


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
    `run` takes the block as a function, and runs it again where another transaction was in its way.
    """

    __slots__ = ("_clock", "_random", "database", "store")

    def __init__(
        self,
        database: Database,
        store: EventStore[E],
        *,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = random,
    ) -> None:
        self.database = database
        self.store = store
        self._clock = clock
        self._random = random

    @asynccontextmanager
    async def __call__(self, *, serializable: bool = False) -> AsyncIterator[Work[E]]:
        """Open one unit of work. Raises UnavailableError, and TransactionConflictError.

        The latter comes from PostgreSQL alone (SQLSTATE 40001, 40P01): rows locked in opposite
        order, or a `serializable` transaction that another one overtook.
        """
        async with self.database.transaction(serializable=serializable) as tx:
            work: Work[E] = Work(tx)
            yield work
            if work.events:
                await self.store.append(tx, work.events)
                tx.on_commit(self.store.committed)

    async def run(
        self,
        function: Callable[[Work[E]], Awaitable[T]],
        *,
        attempts: int = 5,
        serializable: bool = False,
    ) -> T:
        """Run `function` in a unit of work and return what it returns, once that is committed.

        After a conflict it is rolled back and runs again, from its beginning and with a new `work`:
        what it does outside of the transaction must bear that. At most `attempts` times, after
        pauses of some tens of milliseconds, none of which outlasts the deadline of the current
        call. Raises TransactionConflictError in the end, and what `function` raises.
        """
        if attempts < 1:
            raise ConfigurationError(f"attempts must be at least 1, not {attempts!r}")
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self(serializable=serializable) as work:
                    return await function(work)
            except TransactionConflictError:
                pause = self._random() * min(_PAUSE * 2.0**attempt, _PAUSE_MAX)
                if attempt >= attempts or not self._in_time(pause):
                    raise
            await self._clock.sleep(pause)

    def _in_time(self, pause: float) -> bool:
        call = current_call()
        if call is None or call.deadline is None:
            return True
        return self._clock.monotonic() + pause < call.deadline
