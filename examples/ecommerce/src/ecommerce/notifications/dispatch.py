"""Sending what is due: each notification until somebody took it, or the attempts are used up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from prodkit.data.database import Database
from prodkit.errors import ServiceError
from sqlalchemy import RowMapping, select, update

from ecommerce.notifications.channels import Send
from ecommerce.notifications.metrics import NotificationMetrics
from ecommerce.notifications.tables import notifications

MAX_ATTEMPTS = 20
#: Seconds; doubled at each attempt up to the second.
FIRST_WAIT, LONGEST_WAIT = 0.5, 300.0


class Dispatcher:
    """Sends due notifications, a few at a time.

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
        while due := await self._due():
            await asyncio.gather(*(self._try(row) for row in due))

    async def _due(self) -> list[RowMapping]:
        async with self._database.read() as tx:
            found = await tx.execute(
                select(notifications)
                .where(notifications.c.status == "pending", notifications.c.due_at <= self._now())
                .order_by(notifications.c.due_at)
                .limit(self._parallel)
            )
            return list(found.mappings())

    async def _try(self, row: RowMapping) -> None:
        attempts = row["attempts"] + 1
        try:
            send = self._channels[row["channel"]]
            await send(row["id"], row["recipient"], row["subject"], row["body"])
        except ServiceError:
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
