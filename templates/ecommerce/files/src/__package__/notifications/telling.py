"""From an event to notifications: who is told, by which channels, once per event."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import NotFoundError
from prodkit.messaging.event import Event
from prodkit.messaging.inbox import Inbox
from prodkit.telemetry.propagation import current_traceparent
from sqlalchemy import insert, select

from ..asking import Ask
from ..contract.users.v1 import users_pb2
from ..contract.users.v1.users_pb2_grpc import UserServiceStub
from .messages import text_for
from .tables import notifications, preferences

#: Who never chose is told by mail.
DEFAULTS = {"email": True, "sms": False, "push": False}


class Telling:
    """Handles events; `wake` is called when there is something to send."""

    def __init__(
        self,
        *,
        units: UnitOfWork[Event],
        inbox: Inbox,
        users: UserServiceStub,
        now: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self._units = units
        self._inbox = inbox
        self._users = users
        self._now = now
        self._wake = wake

    async def handle(self, event: Event) -> None:
        """Keep what is to be sent about `event`, in the transaction that takes note of it."""
        user_id = event.data["user_id"]
        try:
            user = await self._users.GetUser(users_pb2.GetUserRequest(id=user_id))
        except NotFoundError:
            return
        async with self._units() as work:
            if not await self._inbox.first_time(work.tx, event):
                return
            chosen = await chosen_channels(work.execute, user_id)
            rows = [
                self._row(event, user, channel, recipient)
                for channel, recipient in _recipients(user).items()
                if recipient and chosen[channel]
            ]
            if rows:
                await work.execute(insert(notifications), rows)
        self._wake()

    def _row(
        self, event: Event, user: users_pb2.User, channel: str, recipient: str
    ) -> dict[str, object]:
        text = text_for(event.type, user.name, event.data)
        return {
            "id": f"{event.id}-{channel}",
            "user_id": user.id,
            "channel": channel,
            "recipient": recipient,
            "event_id": event.id,
            "event_type": event.type,
            "subject": text.subject,
            "body": text.body,
            "traceparent": current_traceparent() or "",
            "request_id": event.request_id,
            "status": "pending",
            "attempts": 0,
            "due_at": self._now(),
            "created_at": datetime.now(UTC).isoformat(),
            "sent_at": "",
        }


async def chosen_channels(ask: Ask, user_id: str) -> dict[str, bool]:
    """Return which channels a user wants."""
    columns = (preferences.c.email, preferences.c.sms, preferences.c.push)
    found = await ask(select(*columns).where(preferences.c.user_id == user_id))
    row = found.mappings().one_or_none()
    return dict(DEFAULTS) if row is None else {name: row[name] for name in DEFAULTS}


def _recipients(user: users_pb2.User) -> dict[str, str]:
    return {"email": user.email, "sms": user.phone, "push": user.id}
