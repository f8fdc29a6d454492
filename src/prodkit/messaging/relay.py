"""The relay: publishes what an outbox holds, at least once, each subject's events in order."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any

from sqlalchemy import Row, update

from prodkit.clock import SYSTEM_CLOCK, Clock, seconds
from prodkit.data.database import Database, Transaction, shared_time, time_expression
from prodkit.data.database.transaction import now_values
from prodkit.data.owner_files import OwnerFiles
from prodkit.data.tasks import Loop
from prodkit.errors import AbortedError, ServiceError, UnavailableError
from prodkit.messaging import outbox_leases
from prodkit.messaging.event import new_id
from prodkit.messaging.outbox import Outbox, outbox
from prodkit.messaging.outbox_backlog import Backlog, read_backlog
from prodkit.messaging.outbox_bell import OutboxBell
from prodkit.messaging.outbox_statements import mark_sent, next_events
from prodkit.transports.broker import Broker, Message

__all__ = ["Backlog", "OutboxRelay"]

_log = logging.getLogger("prodkit.messaging")
_RETRY_INITIAL = 0.5
_RETRY_MAX = 15.0


@dataclass(slots=True)
class _Outcome:
    """What became of a batch: the seqs that are confirmed, and the first refusal of a subject."""

    sent: list[int] = field(default_factory=list)
    failed: dict[str, tuple[Row[Any], ServiceError]] = field(default_factory=dict)


class OutboxRelay:
    """Publishes an outbox's events; a worker of the service that owns the database.

    It reads a batch, publishes it holding no connection, and marks it as sent after the broker's
    confirmation: a crash in between publishes again, with the same ids. There is no cursor that a
    late commit could fall behind. An event that the broker refuses holds its own subject, and is
    tried again with growing delays up to 15 seconds; `backlog` and a warning tell of it. Events of
    `optional_types` (names, or prefixes as in `product.*`) may go where nobody has subscribed.

    Relays that share a database lease its partitions for `lease` seconds, and each publishes only
    while its own last; over SQLite those of a dead process are taken over at once. One that is
    paused for longer in the very act can repeat events after newer ones of their subject; an inbox
    drops such repetitions. On PostgreSQL a commit wakes the relays of all processes, elsewhere
    those of its own; the others look every `poll` seconds.
    """

    def __init__(
        self,
        database: Database,
        store: Outbox,
        broker: Broker,
        *,
        name: str = "outbox-relay",
        optional_types: Collection[str] = (),
        batch: int = 200,
        poll: float = 0.5,
        lease: float = 15.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self.backlog = Backlog()
        self._database = database
        self._store = store
        self._broker = broker
        self._optional = tuple(optional_types)
        self._batch = batch
        self._poll = seconds("poll", poll)
        self._lease = seconds("lease", lease)
        self._clock = clock
        self._owner = new_id()
        self._living = OwnerFiles(database, "outbox")
        self._partitions: frozenset[int] = frozenset()
        self._renew_at = 0.0
        self._held_until = 0.0
        self._report_at = 0.0
        self._loop = Loop(name, self._turn, clock=clock)
        self._bell: OutboxBell | None = None
        if database.server is not None:
            self._bell = OutboxBell(database.server, self._loop.wake, clock=clock)
        store.subscribe(self._committed)

    async def start(self) -> None:
        """Start publishing."""
        await self._living.hold(self._owner)
        self._renew_at = self._report_at = 0.0
        self._loop.start()
        if self._bell is not None:
            self._bell.start()

    async def wait(self) -> None:
        """Return when stopped; raise what it died of."""
        await self._loop.wait()

    async def stop(self, grace: float) -> None:
        """Finish the batch under way; what the outbox still holds stays for the next start."""
        try:
            await self._loop.stop(grace)
        finally:
            if self._bell is not None:
                await self._bell.stop()
        with suppress(UnavailableError, AbortedError):  # then the leases end by themselves
            async with self._database.transaction() as tx:
                await outbox_leases.leave(tx, self._owner)
        await self._living.drop(self._owner)

    def _committed(self) -> None:
        self._loop.wake()
        if self._bell is not None and len(self._partitions) < self._store.partitions:
            self._bell.ring()

    async def _turn(self) -> float:
        await self._renew()
        rows = await self._read()
        try:
            if rows:
                await self._publish(rows)
        except UnavailableError:
            await self._report()  # nobody needs the figures more
            raise
        await self._report()
        return 0.0 if len(rows) == self._batch else self._poll

    async def _renew(self) -> None:
        if self._clock.monotonic() < self._renew_at:
            return
        started = self._clock.monotonic()
        self._partitions = await self._leased()
        self._renew_at = started + self._lease / 3
        self._held_until = started + self._lease

    async def _leased(self) -> frozenset[int]:
        database, mine = self._database, (self._owner, self._store.partitions)
        async with self._living.dead() as owners:
            if self._partitions and not owners:
                kept = await outbox_leases.keep(database, *mine, self._lease, self._clock)
                if kept:
                    return kept
            async with database.transaction() as tx:
                for owner in owners:
                    await outbox_leases.leave(tx, owner)
                now = await shared_time(tx, self._clock)
                return await outbox_leases.renew(tx, *mine, now, now + self._lease)

    async def _read(self) -> Sequence[Row[Any]]:
        """Return the next events whose subject is not held by an earlier one that waits."""
        dialect = self._database.dialect
        values = {"partitions": list(self._partitions), "rows": self._batch}
        values |= now_values(dialect, self._clock)
        return (await self._database.fetch(next_events(dialect), values)).all()

    async def _publish(self, rows: Sequence[Row[Any]]) -> None:
        outcome = _Outcome()
        try:
            for optional, run in groupby(rows, key=lambda row: self._is_optional(row.type)):
                await self._publish_run(list(run), not optional, outcome)
        finally:
            await self._mark(outcome)

    async def _publish_run(
        self, rows: Sequence[Row[Any]], mandatory: bool, outcome: _Outcome
    ) -> None:
        """Publish together; if the broker refuses that, find out which event it is."""
        rows = [row for row in rows if row.subject not in outcome.failed]
        if not self._holds():
            return  # whoever holds them now reads them too
        refusal = await self._try(rows, mandatory)
        if refusal is None:
            outcome.sent.extend(row.seq for row in rows)
            return
        for row in rows:
            if row.subject in outcome.failed or not self._holds():
                continue
            refusal = await self._try([row], mandatory)
            if refusal is None:
                outcome.sent.append(row.seq)
            else:
                outcome.failed[row.subject] = (row, refusal)

    def _holds(self) -> bool:
        return self._clock.monotonic() < self._held_until

    async def _try(self, rows: Sequence[Row[Any]], mandatory: bool) -> ServiceError | None:
        try:
            await self._broker.publish([_message(row) for row in rows], mandatory=mandatory)
        except UnavailableError:
            raise  # it is not about these events: the loop waits for the broker
        except ServiceError as error:
            return error
        return None

    async def _mark(self, outcome: _Outcome) -> None:
        # A mark says only what is true, whoever holds the lease by now: it needs no fence.
        if not outcome.sent and not outcome.failed:
            return
        dialect = self._database.dialect
        sent = mark_sent(dialect), {"sent": outcome.sent} | now_values(dialect, self._clock)
        if not outcome.failed:
            await self._database.execute(*sent)
            return
        async with self._database.transaction() as tx:
            await tx.execute(*sent)
            for row, error in outcome.failed.values():
                await self._hold_back(tx, row, error)

    async def _hold_back(self, tx: Transaction, row: Row[Any], error: ServiceError) -> None:
        # The message of an error may be shown to strangers: its notes say which queue.
        told = "; ".join(getattr(error, "__notes__", [error.message]))
        _log.warning("%s %s is held back: %s", row.type, row.id, told)
        delay = min(_RETRY_MAX, _RETRY_INITIAL * 2.0 ** min(row.attempts, 16))
        values = {
            "attempts": row.attempts + 1,
            "next_attempt": time_expression(tx, self._clock) + delay,
            "error": told[:500].replace("\0", "?"),
        }
        waiting = (outbox.c.seq == row.seq, outbox.c.sent_at.is_(None))
        await tx.execute(update(outbox).where(*waiting).values(values))

    async def _report(self) -> None:
        now = self._clock.monotonic()
        if now < self._report_at:
            return
        self._report_at = now + 5.0
        self.backlog = await read_backlog(self._database, self._clock)

    def _is_optional(self, type_: str) -> bool:
        return any(fnmatchcase(type_, pattern) for pattern in self._optional)


def _message(row: Row[Any]) -> Message:
    headers = {"traceparent": row.traceparent, "x-request-id": row.request_id}
    return Message(
        row.id,
        row.type,
        row.body,
        key=row.subject,
        headers={name: value for name, value in headers.items() if value},
    )
