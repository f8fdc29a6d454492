"""Sending what is due: each notification until somebody took it, or the attempts are used up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import structlog
from prodkit.data.database import Database
from prodkit.errors import ServiceError
from sqlalchemy import RowMapping, select, update

from ecommerce.notifications.channels import Send
from ecommerce.notifications.metrics import NotificationMetrics
from ecommerce.notifications.tables import notifications

MAX_ATTEMPTS = 20
#: Seconds; doubled at each attempt up to the second.
FIRST_WAIT, LONGEST_WAIT = 0.5, 300.0
#: Seconds that a sender has for what it took; then another one may.
LEASE = 60.0

_log = structlog.get_logger("ecommerce.notifications")


class Dispatcher:
    """Sends due notifications, a few at a time; several processes may share the work.

    One that was handed over and not marked for a crash is sent again under the same id.
    """

    def __init__(
        self,
        database: Database,
        channels: Mapping[str, Send],
        metrics: NotificationMetrics,
        *,
        now: Callable[[], float],
        parallel: int = 8,
    ) -> None:
        self._database = database
        self._channels = channels
        self._metrics = metrics
        self._now = now
        self._parallel = parallel

    async def send_due(self) -> None:
        """Try each due notification once, oldest first."""
        while due := await self._take():
            await asyncio.gather(*(self._try(row) for row in due))

    async def _take(self) -> list[RowMapping]:
        """Take some due notifications: until the lease ends, nobody else sends them."""
        now = self._now()
        due = (
            select(notifications.c.id)
            .where(notifications.c.status == "pending", notifications.c.due_at <= now)
            .order_by(notifications.c.due_at)
            .limit(self._parallel)
        )
        async with self._database.read() as tx:
            if (await tx.execute(due)).first() is None:
                return []
        async with self._database.transaction() as tx:
            taken = await tx.execute(
                update(notifications)
                .where(notifications.c.id.in_(due))
                .values(due_at=now + LEASE)
                .returning(notifications)
            )
            return list(taken.mappings())

    async def _try(self, row: RowMapping) -> None:
        attempts = row["attempts"] + 1
        try:
            send = self._channels[row["channel"]]
            await send(row["id"], row["recipient"], row["subject"], row["body"])
        except Exception as error:  # noqa: BLE001 - one that cannot be sent holds up no other
            if not isinstance(error, ServiceError):
                _log.error("notification not sent", id=row["id"], error=type(error).__name__)
            status = "pending" if attempts < MAX_ATTEMPTS else "failed"
        else:
            status = "sent"
        values: dict[str, object] = {"status": status, "attempts": attempts}
        if status == "sent":
            values["sent_at"] = datetime.now(UTC).isoformat()
        else:
            values["due_at"] = self._now() + min(FIRST_WAIT * 2.0**attempts, LONGEST_WAIT)
        async with self._database.transaction() as tx:
            await tx.execute(
                update(notifications).where(notifications.c.id == row["id"]).values(**values)
            )
        if status != "pending":
            self._metrics.settled(row["channel"], status)
