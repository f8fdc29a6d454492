"""Notifications on their database, with channels that only write down what they were given."""

from types import SimpleNamespace

import pytest
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import NotFoundError, UnavailableError
from prodkit.messaging.inbox import Inbox, metadata as inbox_tables
from prodkit.pipeline import Pipeline
from prometheus_client import CollectorRegistry
from sqlalchemy import select

from ecommerce.contract.users.v1.users_pb2 import User
from ecommerce.notifications.dispatch import Dispatcher
from ecommerce.notifications.metrics import NotificationMetrics
from ecommerce.notifications.servicer import NotificationServicer
from ecommerce.notifications.tables import metadata, notifications
from ecommerce.notifications.telling import Telling


class FakeUsers:
    def __init__(self):
        self.users = {
            "user-1": User(
                id="user-1", name="Ann", email="ann@example.com", phone="+4915112345678"
            ),
            "user-2": User(id="user-2", name="Bob", email="bob@example.com"),
        }
        self.away = False

    async def GetUser(self, request):  # noqa: N802 - the stub's name
        if self.away:
            raise UnavailableError("users is away")
        if request.id not in self.users:
            raise NotFoundError("there is no such user")
        return self.users[request.id]


class Channel:
    """Takes messages, unless the test says otherwise."""

    def __init__(self):
        self.sent, self.errors = [], []

    async def send(self, message_id, recipient, subject, body):
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        self.sent.append((message_id, recipient, subject, body))


@pytest.fixture
async def shop(open_database, clock, events):
    database = await open_database(metadata, inbox_tables)
    units = UnitOfWork(database, events)
    users, woken = FakeUsers(), []
    channels = {name: Channel() for name in ("email", "sms", "push")}
    telling = Telling(
        units=units,
        inbox=Inbox("notifications", clock=clock),
        users=users,
        now=clock.wall,
        wake=lambda: woken.append(True),
    )

    def dispatcher(**options):
        senders = {name: channel.send for name, channel in channels.items()}
        metrics = NotificationMetrics(CollectorRegistry())
        options = {"pipeline": Pipeline(), **options}
        return Dispatcher(database, senders, metrics, now=clock.wall, **options)

    async def rows():
        async with database.read() as tx:
            return (await tx.execute(select(notifications))).mappings().all()

    return SimpleNamespace(
        database=database,
        users=users,
        telling=telling,
        woken=woken,
        channels=channels,
        dispatcher=dispatcher,
        servicer=NotificationServicer(database),
        rows=rows,
    )
