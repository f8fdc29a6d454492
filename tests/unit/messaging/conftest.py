import pytest

from prodkit.data.database import Database
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.messaging.inbox import metadata as inbox_tables
from prodkit.messaging.outbox import Outbox
from prodkit.messaging.outbox import metadata as outbox_tables
from prodkit.testing import ManualClock
from prodkit.transports.embedded import EmbeddedBroker


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def database():
    database = Database(":memory:")
    await database.start()
    await database.create_all(outbox_tables, inbox_tables)
    yield database
    await database.stop()


@pytest.fixture
async def broker():
    broker = EmbeddedBroker(":memory:", poll=0.01)
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
def store(clock):
    return Outbox("/orders", clock=clock)


@pytest.fixture
def units(database, store):
    return UnitOfWork(database, store)
