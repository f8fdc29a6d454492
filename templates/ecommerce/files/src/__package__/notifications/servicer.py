"""Notifications, as the contract shows them."""

from __future__ import annotations

from prodkit.data.database import Database
from prodkit.data.pagination import page
from prodkit.errors import FieldViolation, InvalidArgumentError
from sqlalchemy import Row, select, update

from ..contract.notifications.v1 import notifications_pb2 as pb, notifications_pb2_grpc as rpc
from ..identity import caller
from ..wire import Context, timestamp
from .tables import notifications, preferences
from .telling import DEFAULTS, chosen_channels

DEFAULT_PAGE_SIZE = 20


class NotificationServicer(rpc.NotificationServiceServicer):
    """What was told, and what is wanted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ListNotifications(
        self, request: pb.ListNotificationsRequest, context: Context
    ) -> pb.ListNotificationsResponse:
        """Return a page of the caller's notifications."""
        mine = select(notifications).where(notifications.c.user_id == caller().subject)
        newest = notifications.c.created_at, notifications.c.id
        async with self._database.read() as tx:
            found = await page(
                tx,
                mine,
                *newest,
                size=request.page_size or DEFAULT_PAGE_SIZE,
                cursor=request.page_token,
                descending=True,
            )
        return pb.ListNotificationsResponse(
            notifications=[_notification(row) for row in found.rows],
            next_page_token=found.next_cursor,
        )

    async def GetPreferences(
        self, request: pb.GetPreferencesRequest, context: Context
    ) -> pb.Preferences:
        """Return the caller's channels."""
        return pb.Preferences(**await chosen_channels(self._database.fetch, caller().subject))

    async def UpdatePreferences(
        self, request: pb.UpdatePreferencesRequest, context: Context
    ) -> pb.Preferences:
        """Change the channels that the mask names."""
        paths = list(request.update_mask.paths)
        wrong = [path for path in paths if path not in DEFAULTS]
        if wrong or not paths:
            said = f"{wrong[0]} cannot be changed" if wrong else "names nothing to change"
            violation = FieldViolation("/update_mask", said, "in")
            raise InvalidArgumentError("the change does not serve", violations=[violation])
        user = caller().subject
        wanted = {path: getattr(request.preferences, path) for path in paths}
        async with self._database.transaction() as tx:
            row = {"user_id": user, **DEFAULTS, **wanted}
            if not await tx.insert_new(preferences, row):
                mine = preferences.c.user_id == user
                await tx.execute(update(preferences).where(mine).values(wanted))
            chosen = await chosen_channels(tx.execute, user)
        return pb.Preferences(**chosen)


def _notification(row: Row[tuple[object, ...]]) -> pb.Notification:
    values = row._asdict()
    message = pb.Notification(
        id=values["id"],
        channel=values["channel"],
        event_id=values["event_id"],
        event_type=values["event_type"],
        subject=values["subject"],
        status=values["status"],
        created_at=timestamp(values["created_at"]),
    )
    if values["sent_at"]:
        message.sent_at.CopyFrom(timestamp(values["sent_at"]))
    return message
