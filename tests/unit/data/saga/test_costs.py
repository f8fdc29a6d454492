"""How many transactions, and statements, a saga of n steps takes."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import Column, MetaData, String, Table, event, insert

from prodkit.data.database import Database
from prodkit.data.saga import Saga, SagaRunner, SagaStatus, Step
from prodkit.data.saga.store import metadata
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.messaging.outbox import Outbox

pytestmark = pytest.mark.anyio

EFFECTS = Table("effect", MetaData(), Column("key", String(50), primary_key=True))


class Counting:
    """Counts what the writer does: each transaction of it ends in a sync of the disk."""

    def __init__(self, database):
        self.counts = Counter()
        self.engine = database.writer.sync_engine
        event.listen(self.engine, "begin", self._begin)
        event.listen(self.engine, "before_cursor_execute", self._execute)

    def _begin(self, _connection):
        self.counts["transactions"] += 1

    def _execute(self, _connection, _cursor, statement, *_):
        if "saga" in statement:
            self.counts[statement.split()[0].lower()] += 1

    def taken(self):
        counts, self.counts = dict(self.counts), Counter()
        return counts


@pytest.fixture
async def database():
    database = Database(":memory:")
    await database.start()
    await database.create_all(metadata, EFFECTS.metadata)
    yield database
    await database.stop()


@pytest.fixture
def units(database):
    return UnitOfWork(database, Outbox("/orders"))


def saga_of(steps, units, *, together):
    async def act(run):
        async with units() as work:
            await work.execute(insert(EFFECTS).values(key=run.key))
            if together:
                await run.complete(work.tx, {run.step: run.attempt})
        return {run.step: run.attempt}

    return Saga("s", *(Step(f"step{number}", act) for number in range(steps)))


async def run(runner, database, saga, id_="s1"):
    async with database.transaction() as tx:
        await runner.begin(tx, saga, id_, {})
    return await runner.drive(id_, within=10)


@pytest.mark.parametrize("steps", [1, 3, 5])
@pytest.mark.parametrize("together", [False, True])
async def test_one_transaction_to_begin_and_one_a_step(database, units, steps, together):
    saga = saga_of(steps, units, together=together)
    runner = SagaRunner(database, [saga], poll=100)
    await runner.start()
    await asyncio.sleep(0)
    counting = Counting(database)
    record = await run(runner, database, saga)
    await runner.stop(1)
    assert record.status is SagaStatus.COMPLETED
    assert record == await runner.get("s1")  # what is returned was not read again
    counts = counting.taken()
    # Beginning, and each step's effect; what the step records joins that, or comes on top.
    assert counts.pop("transactions") == 1 + steps + (0 if together else steps)
    assert counts == {"insert": 1, "update": steps}


async def test_a_runner_that_is_not_started_leases_in_a_transaction_of_its_own(database, units):
    saga = saga_of(2, units, together=False)
    runner = SagaRunner(database, [saga])
    counting = Counting(database)
    assert (await run(runner, database, saga)).status is SagaStatus.COMPLETED
    counts = counting.taken()
    assert counts == {"transactions": 1 + 1 + 2 + 2, "insert": 1, "update": 3}
