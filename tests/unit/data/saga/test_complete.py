"""Steps that record themselves in the transaction of their effect."""

import asyncio

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select, update

from prodkit.data.database import Database
from prodkit.data.saga import Saga, SagaRunner, SagaStatus, Step, StepRun
from prodkit.data.saga.store import metadata, sagas
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import AbortedError, FailedPreconditionError, UnavailableError
from prodkit.messaging.outbox import Outbox
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio

EFFECTS = Table("effect", MetaData(), Column("n", Integer, primary_key=True))


@pytest.fixture
async def database():
    database = Database(":memory:")
    await database.start()
    await database.create_all(metadata, EFFECTS.metadata)
    yield database
    await database.stop()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def units(database):
    return UnitOfWork(database, Outbox("/orders"))


async def effects(database):
    async with database.read() as tx:
        return len((await tx.execute(select(EFFECTS))).all())


async def take_effect(tx):
    await tx.execute(insert(EFFECTS).values(n=None))


async def drive(database, clock, *steps, runner=None):
    runner = runner or SagaRunner(database, [Saga("s", *steps)], clock=clock)
    async with database.transaction() as tx:
        await runner.begin(tx, runner._sagas["s"], "s1", {})
    return runner, await runner.drive("s1", within=0.001)


async def test_what_a_step_recorded_stands_whatever_it_raises_after_the_commit(
    database, units, clock
):
    async def act(run):
        async with units() as work:
            await take_effect(work.tx)
            await run.complete(work.tx, {"done": (1, 2)})
        raise FailedPreconditionError("too late")

    _, record = await drive(database, clock, Step("act", act))
    assert (record.status, record.state) == (SagaStatus.COMPLETED, {"done": [1, 2]})
    assert await effects(database) == 1


async def test_what_rolls_back_was_not_recorded(database, units, clock):
    async def act(run):
        try:
            async with units() as work:
                await take_effect(work.tx)
                await run.complete(work.tx, {"attempt": run.attempt})
                if run.attempt == 1:
                    raise UnavailableError("gone")
        except UnavailableError as error:
            raise UnavailableError("again") from error

    runner, record = await drive(database, clock, Step("act", act))
    assert (record.status, record.progress.error) == (
        SagaStatus.RUNNING,
        "UnavailableError: again",
    )
    await clock.advance(1)
    record = await runner.drive("s1", within=0.001)
    assert (record.status, record.state) == (SagaStatus.COMPLETED, {"attempt": 2})
    assert await effects(database) == 1


async def test_who_has_lost_the_lease_takes_no_effect(database, units, clock):
    seen = []

    async def act(run):
        async with database.transaction() as tx:  # another process was faster
            await tx.execute(update(sagas).values(fence=sagas.c.fence + 1, owner="other"))
        try:
            async with units() as work:
                await take_effect(work.tx)
                await run.complete(work.tx)
        except AbortedError as error:
            seen.append(error.reason)
            raise

    _, record = await drive(database, clock, Step("act", act))
    assert (seen, record.owner) == (["SAGA_LEASE_LOST"], "other")
    assert record.status is SagaStatus.RUNNING
    assert await effects(database) == 0


async def test_a_step_is_recorded_once(database, units, clock):
    async def act(run):
        for _ in range(2):
            async with units() as work:
                await take_effect(work.tx)
                await run.complete(work.tx)

    _, record = await drive(database, clock, Step("act", act))
    assert record.status is SagaStatus.COMPLETED
    assert await effects(database) == 1


async def test_an_effect_whose_commit_is_in_doubt_is_never_taken_twice(
    database, units, clock, monkeypatch
):
    """The commit came through and its answer did not: the saga looks before it goes on."""

    async def act(run):
        async with units() as work:
            await take_effect(work.tx)
            await run.complete(work.tx)
            # What `on_commit` would tell is lost with the answer.
            work.tx._listeners.clear()
        raise UnavailableError("no answer to the commit")

    calls = []

    async def second(_):
        calls.append(1)

    steps = Step("act", act), Step("second", second)
    runner, record = await drive(database, clock, *steps)
    assert (record.progress.step, record.status) == ("second", SagaStatus.RUNNING)
    await runner._turn()
    await asyncio.gather(*runner._running.values())
    assert (await runner.get("s1")).status is SagaStatus.COMPLETED
    assert await effects(database) == 1
    assert calls == [1]


async def test_a_compensation_records_itself_too(database, units, clock):
    async def act(_):
        raise FailedPreconditionError("no")

    async def undo(run):
        async with units() as work:
            await take_effect(work.tx)
            await run.complete(work.tx)

    _, record = await drive(database, clock, Step("act", act, undo))
    assert record.status is SagaStatus.COMPENSATED
    assert await effects(database) == 1


async def test_whoever_is_cancelled_after_the_commit_gives_the_lease_back(database, units, clock):
    committed = asyncio.Event()

    async def act(run):
        async with units() as work:
            await run.complete(work.tx)
        committed.set()
        await asyncio.Event().wait()

    async def second(_):
        pass

    saga = Saga("s", Step("act", act, timeout=100), Step("second", second))
    runner = SagaRunner(database, [saga], clock=clock)
    await runner.start()
    driving = asyncio.create_task(drive(database, clock, runner=runner))
    await committed.wait()
    await runner.stop(0)
    await driving
    record = await runner.get("s1")
    assert (record.progress.step, record.lease_left, record.owner) == ("second", 0.0, "")


async def test_another_database_cannot_record_it(database, clock):
    other = Database(":memory:")
    await other.start()
    await other.create_all(metadata)

    async def act(run):
        async with other.transaction() as tx:
            await run.complete(tx)

    _, record = await drive(database, clock, Step("act", act, attempts=1))
    await other.stop()
    assert record.status is SagaStatus.COMPENSATED
    assert record.progress.reason == "act: ConfigurationError"


async def test_a_run_of_no_runner_cannot_be_recorded(database):
    async with database.transaction() as tx:
        with pytest.raises(RuntimeError):
            await StepRun("s1", "act", {}, 1).complete(tx)
