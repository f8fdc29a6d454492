import asyncio
import logging
import random
from contextlib import suppress

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from prodkit.call import CURRENT, Call, current_call
from prodkit.data.database import Database
from prodkit.data.saga import CompensateError, Saga, SagaRunner, SagaStatus, Step
from prodkit.data.saga.store import SagaStore, metadata
from prodkit.errors import (
    AlreadyExistsError,
    ConfigurationError,
    FailedPreconditionError,
    NotFoundError,
    UnavailableError,
)
from prodkit.pipeline import Pipeline
from prodkit.testing import ManualClock
from prodkit.traits import Trait

pytestmark = pytest.mark.anyio


class Crash(BaseException):
    """The process died here."""


class World:
    """The outside, with idempotency keys; each name can be told to fail."""

    def __init__(self):
        self.effects, self.calls, self.errors = {}, [], {}

    def action(self, name):
        async def act(run):
            self.calls.append(name)
            self._fail(name)
            self.effects[run.action_key] = name
            return {name: run.attempt}

        return act

    def compensation(self, name):
        async def undo(run):
            self.calls.append(f"-{name}")
            self._fail(f"-{name}")
            self.effects.pop(run.action_key, None)

        return undo

    def _fail(self, name):
        if self.errors.get(name):
            raise self.errors[name].pop(0)

    def step(self, name, **options):
        return Step(name, self.action(name), self.compensation(name), **options)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def world():
    return World()


@pytest.fixture
def saga(world):
    return Saga("checkout", *(world.step(name, attempts=3) for name in ("reserve", "pay", "ship")))


@pytest.fixture
async def database():
    database = Database(":memory:")
    await database.start()
    await database.create_all(metadata)
    yield database
    await database.stop()


@pytest.fixture
def runner(database, saga, clock):
    return SagaRunner(database, [saga], clock=clock)


async def begin(runner, saga, id_="s1", **state):
    async with runner.store.database.transaction() as tx:
        await runner.begin(tx, saga, id_, state)


async def due(runner, clock):
    """Let a second pass, and run to their rest the sagas that are due."""
    await clock.advance(1)
    await runner._turn()
    await asyncio.gather(*runner._running.values(), return_exceptions=True)


async def test_runs_to_the_end_and_keeps_its_state(runner, saga, world):
    await begin(runner, saga, order="o1")
    record = await runner.drive("s1", within=10)
    assert record.status is SagaStatus.COMPLETED
    assert record.state == {"order": "o1", "reserve": 1, "pay": 1, "ship": 1}
    assert world.calls == ["reserve", "pay", "ship"]


async def test_what_rolls_back_never_began(runner, saga, database):
    async def fail() -> None:
        async with database.transaction() as tx:
            await runner.begin(tx, saga, "s1", {})
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    with pytest.raises(NotFoundError):
        await runner.drive("s1", within=1)


async def test_an_id_begins_once(runner, saga):
    await begin(runner, saga)
    with pytest.raises(AlreadyExistsError):
        await begin(runner, saga)


async def test_a_refusal_undoes_what_was_done_in_reverse(runner, saga, world):
    world.errors["pay"] = [FailedPreconditionError("declined")]
    await begin(runner, saga)
    record = await runner.drive("s1", within=10)
    assert record.status is SagaStatus.COMPENSATED
    assert "declined" in record.progress.reason
    assert world.calls == ["reserve", "pay", "-pay", "-reserve"]
    assert world.effects == {}


async def test_an_unknown_exception_is_logged_where_nothing_observes(
    database, saga, world, clock, caplog
):
    class Observer:
        traits = Trait.OBSERVES

        async def __call__(self, call, proceed):
            return await proceed(call)

    told = []
    for id_, pipeline in (("bare", Pipeline()), ("observed", Pipeline(Observer()))):
        world.errors["pay"] = [KeyError("unexpected"), FailedPreconditionError("expected")]
        runner = SagaRunner(database, [saga], pipeline=pipeline, clock=clock)
        await begin(runner, saga, id_)
        with caplog.at_level(logging.ERROR, "prodkit.sagas"):
            await runner.drive(id_, within=0.1)
            await due(runner, clock)
        assert (await runner.get(id_)).status is SagaStatus.COMPENSATED
        told.append([record.getMessage() for record in caplog.records])
        caplog.clear()
    assert told == [["checkout.pay failed"], []]


async def test_a_failure_is_tried_again_later_and_drive_does_not_wait_for_it(
    runner, saga, world, clock
):
    world.errors["pay"] = [UnavailableError("away", retry_after=30), UnavailableError("away")]
    await begin(runner, saga)
    record = await runner.drive("s1", within=10)
    assert (record.status, record.progress.attempts) == (SagaStatus.RUNNING, 1)
    for _ in range(29):
        await due(runner, clock)
    assert world.calls == ["reserve", "pay"]
    for _ in range(3):
        await due(runner, clock)
    assert (await runner.get("s1")).status is SagaStatus.COMPLETED
    assert (await runner.get("s1")).state["pay"] == 3


async def test_drive_waits_for_a_retry_that_comes_in_time(runner, saga, world, clock):
    world.errors["pay"] = [UnavailableError("away")]
    await begin(runner, saga)
    driving = asyncio.create_task(runner.drive("s1", within=10))
    while (await runner.get("s1")).progress.attempts == 0:
        await asyncio.sleep(0)
    while not driving.done():
        await clock.advance(0.1)
    assert driving.result().status is SagaStatus.COMPLETED


async def test_drive_returns_in_time_and_the_saga_goes_on(runner, database, clock):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_):
        begun.set()
        await go_on.wait()

    saga = Saga("slow", Step("wait", slow, timeout=100))
    runner = SagaRunner(database, [saga], clock=clock)
    await begin(runner, saga)
    driving = asyncio.create_task(runner.drive("s1", within=2))
    await begun.wait()
    await clock.advance(2)
    assert (await driving).status is SagaStatus.RUNNING
    (task,) = runner._running.values()
    other = asyncio.create_task(runner.drive("s1", within=50))
    await clock.settle()
    other.cancel()
    with suppress(asyncio.CancelledError):
        await other
    go_on.set()
    await task
    assert (await runner.get("s1")).status is SagaStatus.COMPLETED


async def test_inline_and_background_never_run_a_saga_at_once(runner, saga, world, clock):
    await begin(runner, saga)
    await asyncio.gather(
        runner.drive("s1", within=10), runner._turn(), runner.drive("s1", within=10)
    )
    await asyncio.gather(*runner._running.values())
    assert world.calls == ["reserve", "pay", "ship"]


async def test_two_processes_never_run_a_saga_at_once(runner, saga, world, database, clock):
    other = SagaRunner(database, [saga], clock=clock)
    for number in range(5):
        await begin(runner, saga, f"s{number}")
    await asyncio.gather(*(each._turn() for each in (runner, other)))
    tasks = [*runner._running.values(), *other._running.values()]
    await asyncio.gather(*tasks)
    assert sorted(world.calls) == sorted(["reserve", "pay", "ship"] * 5)


async def test_a_step_has_a_time_limit_that_its_calls_inherit(database, clock):
    deadlines = []

    async def hang(_):
        deadlines.append(current_call().deadline - clock.monotonic())
        await asyncio.Event().wait()

    saga = Saga("hang", Step("hang", hang, timeout=3, attempts=1))
    runner = SagaRunner(database, [saga], clock=clock)
    await begin(runner, saga)
    driving = asyncio.create_task(runner.drive("s1", within=10))
    while not deadlines:
        await asyncio.sleep(0)
    await clock.advance(3)
    record = await driving
    assert deadlines == [3]
    assert record.status is SagaStatus.COMPENSATED
    assert "DeadlineExceededError" in record.progress.reason


async def test_steps_are_calls_through_the_pipeline_in_the_request_that_began(
    database, saga, clock
):
    calls = []

    async def watch(call, proceed):
        calls.append((call.operation, call.request_id, call.key, current_call() is call))
        assert call.metadata == {"traceparent": f"00-{0xAB:032x}-{0xCD:016x}-01"}
        return await proceed(call)

    runner = SagaRunner(database, [saga], pipeline=Pipeline(watch), clock=clock)
    token = CURRENT.set(Call("POST /orders", request_id="r1", deadline=0.0))
    span = NonRecordingSpan(SpanContext(0xAB, 0xCD, is_remote=False, trace_flags=TraceFlags(1)))
    with use_span(span):
        await begin(runner, saga)
    await runner.drive("s1", within=10)
    CURRENT.reset(token)
    assert calls[0] == ("checkout.reserve", "r1", "s1:reserve", True)
    assert len(calls) == 3


async def test_a_saga_that_no_request_began_has_an_id_of_its_own(database, saga, clock):
    runner = SagaRunner(database, [saga], clock=clock)
    await begin(runner, saga)
    assert len((await runner.get("s1")).request_id) == 32


async def test_a_compensation_that_keeps_failing_needs_attention_and_can_be_resumed(
    runner, saga, world, clock, database
):
    world.errors["pay"] = [CompensateError("no")]
    world.errors["-reserve"] = [FailedPreconditionError("shipped already")]
    await begin(runner, saga)
    record = await runner.drive("s1", within=10)
    assert record.status is SagaStatus.NEEDS_ATTENTION
    assert "shipped already" in record.progress.reason
    assert "pay" in record.progress.reason
    await runner._turn()
    assert runner.counts == {SagaStatus.NEEDS_ATTENTION: 1}
    await runner.resume("s1")
    assert (await runner.drive("s1", within=10)).status is SagaStatus.COMPENSATED
    assert world.effects == {}
    with pytest.raises(FailedPreconditionError):
        await runner.resume("s1")
    with pytest.raises(NotFoundError):
        await runner.resume("s2")


async def test_what_json_cannot_hold_is_the_steps_failure(database, clock):
    async def odd(_):
        return {"x": object()}

    saga = Saga("odd", Step("odd", odd, attempts=1))
    runner = SagaRunner(database, [saga], clock=clock)
    await begin(runner, saga)
    assert (await runner.drive("s1", within=10)).status is SagaStatus.COMPENSATED


async def test_a_step_that_this_version_does_not_know_needs_attention(runner, saga, clock):
    await begin(runner, saga)
    newer = Saga("checkout", Step("other", None))
    upgraded = SagaRunner(runner.store.database, [newer], clock=clock)
    record = await upgraded.drive("s1", within=10)
    assert record.status is SagaStatus.NEEDS_ATTENTION
    await runner.resume("s1")
    assert (await runner.drive("s1", within=10)).status is SagaStatus.COMPLETED


async def test_stop_cancels_what_does_not_end_and_gives_it_back(database, clock):
    begun, ended, blocked = asyncio.Event(), [], True

    async def wait(_):
        begun.set()
        try:
            if blocked:
                await asyncio.Event().wait()
        finally:
            ended.append(True)

    saga = Saga("wait", Step("wait", wait))
    runner = SagaRunner(database, [saga], clock=clock)
    await begin(runner, saga)
    await runner.start()
    await begun.wait()
    await runner.stop(0.0)
    await runner.wait()
    record = await runner.get("s1")
    assert ended
    assert (record.status, record.progress.attempts, record.lease_left) == (
        SagaStatus.RUNNING,
        0,
        0.0,
    )
    assert (await runner.drive("s1", within=0)).status is SagaStatus.RUNNING
    blocked = False
    await runner.start()
    assert (await runner.drive("s1", within=10)).status is SagaStatus.COMPLETED
    await runner.stop(1.0)


async def test_a_lease_lost_while_a_step_ran_records_nothing(runner, saga, world, database, clock):
    """The process was paused for longer than its lease; another one finished the saga."""
    other = SagaRunner(database, [saga], clock=clock)
    pay, first = saga.steps[1].action, True

    async def paused(run):
        nonlocal first
        if first:
            first = False
            await clock.advance(1000)
            assert (await other.drive("s1", within=1)).status is SagaStatus.COMPLETED
            raise FailedPreconditionError("this must not undo anything")
        return await pay(run)

    object.__setattr__(saga.steps[1], "action", paused)
    object.__setattr__(saga.steps[1], "timeout", 2000.0)
    await begin(runner, saga)
    await runner.drive("s1", within=5000)
    assert (await runner.get("s1")).status is SagaStatus.COMPLETED
    assert not any(call.startswith("-") for call in world.calls)


async def test_old_sagas_are_purged_and_needy_ones_kept(runner, saga, world, clock, database):
    await begin(runner, saga, "done")
    await runner.drive("done", within=10)
    world.errors["reserve"] = [CompensateError("no")]
    world.errors["-reserve"] = [FailedPreconditionError("no")]
    await begin(runner, saga, "needy")
    await runner.drive("needy", within=10)
    await clock.advance(91 * 86400)
    async with database.transaction() as tx:
        assert await runner.purge(tx) == 1
    assert (await runner.get("needy")).status is SagaStatus.NEEDS_ATTENTION


async def test_a_saga_of_somebody_else_is_refused(runner, saga, database):
    stranger = Saga("checkout", *saga.steps)
    with pytest.raises(ConfigurationError):
        await begin(runner, stranger)


@pytest.mark.parametrize("declined", [False, True])
@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("victim", range(8))
async def test_a_crash_at_any_write_ends_like_no_crash(
    saga, world, database, clock, monkeypatch, declined, committed, victim
):
    """The process dies before, or right after, its nth write; a new one takes over the file."""
    if declined:
        world.errors["ship"] = [FailedPreconditionError("no")] * 2
    writes = 0

    def crashing(method):
        async def wrapped(*args, **options):
            nonlocal writes
            writes += 1
            if writes == victim + 1 and not committed:
                raise Crash
            result = await method(*args, **options)
            if writes == victim + 1:
                raise Crash
            return result

        return wrapped

    first = SagaRunner(database, [saga], clock=clock)
    await begin(first, saga)
    with monkeypatch.context() as patch:
        for name in ("acquire", "save"):
            patch.setattr(first.store, name, crashing(getattr(first.store, name)))
        task = first._run_task("s1")
        with suppress(Crash):
            await task
    second = SagaRunner(database, [saga], clock=clock)
    for _ in range(20):
        await due(second, clock)
    record = await second.get("s1")
    if declined:
        assert (record.status, world.effects) == (SagaStatus.COMPENSATED, {})
    else:
        assert record.status is SagaStatus.COMPLETED
        assert sorted(world.effects.values()) == ["pay", "reserve", "ship"]


@pytest.mark.parametrize("seed", range(15))
async def test_random_failures_and_crashes_end_all_or_nothing(saga, world, database, clock, seed):
    """Scenarios 3 and 4 in small: whatever fails, all effects are there or none."""
    chance = random.Random(seed)
    names = ["reserve", "pay", "ship", "-reserve", "-pay", "-ship"]

    def fail(name):
        kinds = [UnavailableError, ConnectionResetError, KeyError]
        if not name.startswith("-"):
            kinds.append(FailedPreconditionError)
        after = chance.random() < 0.5
        return after, chance.choice(kinds)

    plan = {name: [fail(name) for _ in range(chance.randrange(3))] for name in names}

    def unreliable(name, function):
        async def run(step):
            after, kind = plan[name].pop(0) if plan[name] else (False, None)
            if kind is not None and not after:
                raise kind("before")
            result = await function(step)
            if kind is not None:
                raise UnavailableError("the reply was lost")
            return result

        return run

    for step in saga.steps:
        object.__setattr__(step, "action", unreliable(step.name, step.action))
        object.__setattr__(step, "compensate", unreliable(f"-{step.name}", step.compensate))
    runner = SagaRunner(database, [saga], clock=clock)
    await begin(runner, saga)
    for _ in range(60):
        await due(runner, clock)
        if chance.random() < 0.3:  # the process dies at a write, and another one starts
            task = runner._run_task("s1")
            await asyncio.sleep(chance.random() * 0.002)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            runner = SagaRunner(database, [saga], clock=clock)
    record = await runner.get("s1")
    complete = record.status is SagaStatus.COMPLETED
    assert complete or record.status is SagaStatus.COMPENSATED
    assert len(world.effects) == (3 if complete else 0)


async def test_the_store_leaves_other_sagas_alone(database, runner, saga):
    await begin(runner, saga)
    store = SagaStore(database)
    assert await store.due(["other"], 10) == []
    assert await store.acquire("s1", ["other"], 10.0) is None


async def begun_unheard(runner, saga, id_="s1"):
    """Begin a saga whose process dies with the commit."""
    async with runner.store.database.transaction() as tx:
        await runner.begin(tx, saga, id_, {})
        tx._listeners.clear()


async def test_a_started_runner_leases_what_begins_and_runs_it_from_the_commit_on(
    runner, saga, world, clock
):
    await runner.start()
    async with runner.store.database.transaction() as tx:
        await runner.begin(tx, saga, "s1", {})
        await asyncio.sleep(0.01)
        assert world.calls == []
    await asyncio.gather(*runner._running.values())
    assert (await runner.get("s1")).status is SagaStatus.COMPLETED
    await runner.stop(1)


async def test_what_a_started_runner_began_and_rolled_back_never_runs(
    runner, saga, world, database
):
    async def fail() -> None:
        async with database.transaction() as tx:
            await runner.begin(tx, saga, "s1", {})
            raise KeyError

    await runner.start()
    with pytest.raises(KeyError):
        await fail()
    async with database.transaction() as tx:
        await runner.begin(tx, saga, "s2", {})
        await tx.connection.rollback()
    for id_ in ("s1", "s2"):
        with pytest.raises(NotFoundError):
            await runner.drive(id_, within=1)
    await runner.stop(1)
    assert world.calls == []


async def test_what_dies_with_the_commit_that_began_it_goes_on_when_the_lease_has_ended(
    runner, saga, database, clock
):
    await runner.start()
    await begun_unheard(runner, saga)
    await runner.stop(1)
    other = SagaRunner(database, [saga], clock=clock)
    assert (await other.drive("s1", within=0.001)).lease_left == 15
    for _ in range(14):
        await due(other, clock)
    assert (await other.get("s1")).status is SagaStatus.RUNNING
    for _ in range(2):
        await due(other, clock)
    assert (await other.get("s1")).status is SagaStatus.COMPLETED


async def test_a_lease_of_ones_own_is_no_hindrance(runner, saga):
    await runner.start()
    await begun_unheard(runner, saga)
    assert (await runner.drive("s1", within=0.001)).status is SagaStatus.COMPLETED
    await runner.stop(1)


async def test_a_lease_that_the_commit_used_up_is_taken_anew(runner, saga, world, clock):
    await runner.start()
    async with runner.store.database.transaction() as tx:
        await runner.begin(tx, saga, "s1", {})
        await clock.advance(4)
    await asyncio.gather(*runner._running.values())
    record = await runner.get("s1")
    assert (record.status, record.fence) == (SagaStatus.COMPLETED, 1)
    await runner.stop(1)


async def test_a_runner_that_is_busy_leaves_what_begins_to_others(database, clock):
    release = asyncio.Event()

    async def wait(_):
        await release.wait()

    saga = Saga("wait", Step("wait", wait))
    runner = SagaRunner(database, [saga], concurrency=1, clock=clock)
    await runner.start()
    await begin(runner, saga, "s1")
    await begin(runner, saga, "s2")
    assert [(await runner.get(id_)).lease_left for id_ in ("s1", "s2")] == [15, 0]
    release.set()
    await runner.stop(1)


async def test_what_could_not_be_recorded_goes_on_once_the_database_is_back(
    runner, saga, world, clock, monkeypatch
):
    save, away = runner.store.save, True

    async def saving(*args, **options):
        if away:
            raise UnavailableError("away")
        return await save(*args, **options)

    monkeypatch.setattr(runner.store, "save", saving)
    await begin(runner, saga)
    record = await runner.drive("s1", within=0.001)
    assert (record.progress.step, record.lease_left) == ("reserve", 15)
    away = False
    await due(runner, clock)  # it does not wait for its own lease to end
    assert (await runner.get("s1")).status is SagaStatus.COMPLETED
    assert world.calls == ["reserve", "reserve", "pay", "ship"]


async def test_what_a_saga_began_with_is_what_its_steps_read(database, clock):
    seen = []

    async def look(run):
        seen.append(run.state)
        return {"pair": (1, 2)}

    saga = Saga("look", Step("one", look), Step("two", look))
    runner = SagaRunner(database, [saga], clock=clock)
    await runner.start()
    await begin(runner, saga, lines=((1, 2),))
    await runner.drive("s1", within=1)
    await runner.stop(1)
    assert seen == [{"lines": [[1, 2]]}, {"lines": [[1, 2]], "pair": [1, 2]}]
