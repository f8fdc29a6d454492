import asyncio

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select
from sqlalchemy.exc import IntegrityError

from prodkit.call import CURRENT, Call
from prodkit.data.database import Database, TransactionConflictError
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import ConfigurationError
from prodkit.testing import ManualClock

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


class Conflicts(Store):
    """Has the database refuse the first units of work."""

    def __init__(self, number):
        super().__init__()
        self.left = number

    async def append(self, tx, events):
        await super().append(tx, events)
        self.left -= 1
        if self.left >= 0:
            raise TransactionConflictError("somebody was faster")


@pytest.fixture
def clock():
    return ManualClock()


async def recorded(units, clock, **options):
    runs = []

    async def function(work):
        runs.append(work)
        await work.execute(insert(ROWS).values(id=len(runs)))
        work.record(7)
        return len(runs)

    task = asyncio.create_task(units.run(function, **options))
    for _ in range(20):
        await asyncio.sleep(0.005)
        await clock.advance(0.2)
    return await task


async def test_run_repeats_the_whole_after_a_conflict(units, clock):
    store = Conflicts(2)
    conflicting = UnitOfWork(units.database, store, clock=clock)
    assert await recorded(conflicting, clock) == 3
    assert await contents(units, ROWS) == [3]
    assert await contents(units, EVENTS) == [7]
    assert store.commits == 1


async def test_run_gives_up_after_so_many_attempts(units, clock):
    conflicting = UnitOfWork(units.database, Conflicts(3), clock=clock)
    with pytest.raises(TransactionConflictError):
        await recorded(conflicting, clock, attempts=3)
    assert conflicting.store.left == 0
    with pytest.raises(ConfigurationError, match="attempts"):
        await units.run(recorded, attempts=0)


async def test_run_does_not_pause_beyond_the_deadline(units, clock):
    conflicting = UnitOfWork(units.database, Conflicts(1), clock=clock, random=lambda: 1.0)
    CURRENT.set(Call("test", deadline=clock.monotonic() + 0.01))
    with pytest.raises(TransactionConflictError):
        await recorded(conflicting, clock)
    CURRENT.set(Call("test", deadline=clock.monotonic() + 10))
    conflicting.store.left = 1
    assert await recorded(conflicting, clock) == 2
