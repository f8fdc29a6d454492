"""What operators do to sagas, beside a runner that is at work."""

import asyncio

import pytest

from prodkit.data.database import Database
from prodkit.data.saga import Saga, SagaDesk, SagaRunner, SagaStatus, Step
from prodkit.data.saga.store import metadata
from prodkit.errors import (
    AbortedError,
    ConfigurationError,
    FailedPreconditionError,
    UnavailableError,
)
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def database():
    database = Database(":memory:")
    await database.start()
    await database.create_all(metadata)
    yield database
    await database.stop()


@pytest.fixture
def desk(database, clock):
    return SagaDesk(database, clock=clock)


class Trouble:
    """A saga whose second step fails until it is told otherwise."""

    def __init__(self):
        self.calls, self.error = [], UnavailableError("away", retry_after=60)
        self.gate = None
        self.saga = Saga("s", Step("one", self.act, self.undo), Step("two", self.fail))

    async def act(self, run):
        self.calls.append("one")

    async def undo(self, run):
        self.calls.append("-one")

    async def fail(self, run):
        self.calls.append("two")
        if self.gate is not None:
            await self.gate.wait()
        if self.error:
            raise self.error


@pytest.fixture
def trouble():
    return Trouble()


@pytest.fixture
async def runner(database, clock, trouble):
    runner = SagaRunner(database, [trouble.saga], clock=clock)
    async with database.transaction() as tx:
        await runner.begin(tx, trouble.saga, "s1", {})
    return runner


async def test_a_retry_need_not_wait(runner, desk, trouble):
    assert (await runner.drive("s1", within=1)).progress.wait == 60
    trouble.error = None
    await desk.retry("s1")
    assert (await runner.drive("s1", within=1)).status is SagaStatus.COMPLETED
    assert trouble.calls == ["one", "two", "two"]


async def test_what_a_runner_runs_is_left_alone(runner, desk, trouble):
    trouble.gate = asyncio.Event()
    driving = asyncio.create_task(runner.drive("s1", within=1))
    while "two" not in trouble.calls:
        await asyncio.sleep(0)
    for change in (desk.retry("s1"), desk.abandon("s1", "no")):
        with pytest.raises(FailedPreconditionError, match="is being run by"):
            await change
    trouble.gate.set()
    assert (await driving).progress.attempts == 1


async def test_what_changed_between_look_and_write_is_left_alone(
    runner, desk, trouble, database, clock
):
    await runner.drive("s1", within=1)
    found = (await desk.get("s1")).record
    await clock.advance(61)
    await runner.drive("s1", within=1)
    async with database.transaction() as tx:
        with pytest.raises(AbortedError, match="look again"):
            await desk._change(tx, found, status="abandoned")
    assert (await runner.get("s1")).status is SagaStatus.RUNNING


async def test_who_was_paused_beyond_its_lease_does_not_undo_what_an_operator_did(
    runner, desk, trouble, clock
):
    trouble.gate, trouble.error = asyncio.Event(), None
    driving = asyncio.create_task(runner.drive("s1", within=1))
    while "two" not in trouble.calls:
        await asyncio.sleep(0)
    object.__setattr__(trouble.saga.steps[1], "timeout", 1e9)
    await runner.store.release("s1")  # as if the lease had ended
    await desk.abandon("s1", "by hand")
    trouble.gate.set()
    await driving
    assert (await runner.get("s1")).status is SagaStatus.ABANDONED


async def test_compensation_begins_with_the_step_that_the_saga_stands_at(runner, desk, trouble):
    await runner.drive("s1", within=1)
    await desk.abandon("s1", "fraud", compensate=True)
    record = await runner.drive("s1", within=1)
    assert (record.status, record.progress.reason) == (SagaStatus.COMPENSATED, "fraud")
    assert trouble.calls == ["one", "two", "-one"]


async def test_the_abandoned_are_not_counted_and_are_purged(runner, desk, database, clock, trouble):
    await runner.drive("s1", within=1)
    await desk.abandon("s1", "no")
    await runner._turn()
    assert runner.counts == {}
    await clock.advance(91 * 86400)
    async with database.transaction() as tx:
        assert await runner.purge(tx) == 1


async def test_a_reason_is_asked_for(runner, desk):
    with pytest.raises(ConfigurationError):
        await desk.abandon("s1", "")


async def test_what_one_operator_gave_up_another_brings_back_only_knowingly(runner, desk, trouble):
    await runner.drive("s1", within=1)
    await desk.abandon("s1", "paid back by hand")
    late = (
        desk.retry("s1"),
        desk.abandon("s1", "mine"),
        desk.abandon("s1", "mine", compensate=True),
    )
    for change in late:
        with pytest.raises(FailedPreconditionError, match="was abandoned: paid back by hand") as no:
            await change
        assert no.value.reason == "SAGA_ABANDONED"
    assert (await desk.get("s1")).record.progress.reason == "paid back by hand"
    trouble.error = None
    await desk.retry("s1", abandoned=True)
    assert (await runner.drive("s1", within=1)).status is SagaStatus.COMPLETED
