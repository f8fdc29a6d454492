import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select
from sqlalchemy.exc import IntegrityError

from prodkit.data.database import Database
from prodkit.data.unit_of_work import UnitOfWork

pytestmark = pytest.mark.anyio

METADATA = MetaData()
ROWS = Table("rows", METADATA, Column("id", Integer, primary_key=True))
EVENTS = Table("events", METADATA, Column("name", Integer, primary_key=True))


class Store:
    def __init__(self):
        self.commits = 0

    async def append(self, tx, events):
        await tx.execute(insert(EVENTS), [{"name": each} for each in events])

    def committed(self):
        self.commits += 1


@pytest.fixture
async def units():
    database = Database(":memory:")
    await database.start()
    await database.create_all(METADATA)
    yield UnitOfWork(database, Store())
    await database.stop()


async def contents(units, table):
    async with units.database.read() as tx:
        return list((await tx.execute(select(table))).scalars())


async def test_the_change_and_its_events_commit_together(units):
    async with units() as work:
        await work.execute(insert(ROWS).values(id=1))
        work.record(7, 8)
        assert units.store.commits == 0
    assert await contents(units, ROWS) == [1]
    assert await contents(units, EVENTS) == [7, 8]
    assert units.store.commits == 1


async def test_an_exception_rolls_back_both(units):
    async def fail() -> None:
        async with units() as work:
            await work.execute(insert(ROWS).values(id=1))
            work.record(7)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await contents(units, ROWS) == await contents(units, EVENTS) == []
    assert units.store.commits == 0


async def test_an_event_that_cannot_be_written_rolls_back_the_change(units):
    async def fail() -> None:
        async with units() as work:
            await work.execute(insert(ROWS).values(id=1))
            work.record(7, 7)

    with pytest.raises(IntegrityError):
        await fail()
    assert await contents(units, ROWS) == []
    assert units.store.commits == 0


async def test_a_change_without_events_wakes_nobody(units):
    async with units() as work:
        await work.execute(insert(ROWS).values(id=1))
    assert units.store.commits == 0
