"""Sending what is due: each notification until somebody took it, or the attempts are used up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from prodkit.call import CURRENT, Call, Kind
from prodkit.data.database import Database
from prodkit.pipeline import Pipeline
from sqlalchemy import RowMapping, select, update

from .channels import Send
from .metrics import NotificationMetrics
from .tables import notifications

MAX_ATTEMPTS = 20
#: Seconds; doubled at each attempt up to the second.
FIRST_WAIT, LONGEST_WAIT = 0.5, 300.0
#: Seconds that a sender has for what it took, more than a channel takes; then another one may.
LEASE = 12.0


class Dispatcher:
    """Sends due notifications, a few at a time; several processes may share the work.

    Each attempt is a call through `pipeline`, in the trace and the request of the event that it
    tells of. One that was handed over and not marked for a crash is sent again under the same id.
    """

    def __init__(
        self,
        database: Database,
        channels: Mapping[str, Send],
        metrics: NotificationMetrics,
        *,
        pipeline: Pipeline,
        now: Callable[[], float],
        parallel: int = 8,
    ) -> None:
        self._database = database
        self._channels = channels
        self._metrics = metrics
        self._attempt = pipeline.bind(self._send)
        self._now = now
        self._parallel = parallel

    async def send_due(self) -> None:
        """Try each due notification once, oldest first."""
        while due := await self._take():
            await asyncio.gather(*(self._try(row) for row in due))
            if len(due) < self._parallel:
                return  # those were the last; who adds one wakes us

    async def _take(self) -> list[RowMapping]:
        """Take some due notifications: until the lease ends, nobody else sends them."""
        now = self._now()
        pending = (notifications.c.status == "pending", notifications.c.due_at <= now)
        due = (
            select(notifications.c.id)
            .where(*pending)
            .order_by(notifications.c.due_at)
            .limit(self._parallel)
            .with_for_update(skip_locked=True)  # another process takes others
        )
        look = select(notifications.c.id).where(*pending).limit(1)
        if (await self._database.fetch(look)).first() is None:
            return []
        taken = await self._database.execute(
            update(notifications)
            .where(notifications.c.id.in_(due), *pending)
            .values(due_at=now + LEASE)
            .returning(notifications)
        )
        return list(taken.mappings())

    async def _try(self, row: RowMapping) -> None:
        call = Call(
            f"send {row['channel']}",
            # Work taken from a store, as a message from a queue: it continues the trace kept there.
            Kind.CONSUMER,
            metadata={"traceparent": row["traceparent"]} if row["traceparent"] else {},
            payload=row,
            request_id=row["request_id"],
        )
        call.attempt = row["attempts"] + 1
        CURRENT.set(call)  # this task sends nothing else
        try:
            await self._attempt(call)
        except Exception:  # noqa: BLE001 - its line is written; it must hold up no other
            await self._put_off(row, call.attempt)
        else:
            sent_at = datetime.now(UTC).isoformat()
            await self._settle(row, status="sent", attempts=call.attempt, sent_at=sent_at)

    async def _send(self, call: Call) -> None:
        row = call.payload
        send = self._channels[row["channel"]]
        await send(row["id"], row["recipient"], row["subject"], row["body"])

    async def _put_off(self, row: RowMapping, attempts: int) -> None:
        due_at = self._now() + min(FIRST_WAIT * 2.0**attempts, LONGEST_WAIT)
        status = "pending" if attempts < MAX_ATTEMPTS else "failed"
        await self._settle(row, status=status, attempts=attempts, due_at=due_at)

    async def _settle(self, row: RowMapping, *, status: str, **values: object) -> None:
        change = update(notifications).where(notifications.c.id == row["id"])
        await self._database.execute(change.values(status=status, **values))
        if status != "pending":
            self._metrics.settled(row["channel"], status)
