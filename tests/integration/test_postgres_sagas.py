"""Sagas on PostgreSQL: one clock for all, effects with their record, the operator's command."""

import asyncio
import json
import time
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, event, insert, select, update
from typer.testing import CliRunner

from prodkit.cli import app
from prodkit.clock import SystemClock
from prodkit.data.database import Database
from prodkit.data.saga import Saga, SagaRunner, SagaStatus, Step
from prodkit.data.saga import store as saga_store
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import FailedPreconditionError, UnavailableError
from prodkit.messaging import outbox as outbox_tables
from prodkit.messaging import outbox_leases
from prodkit.messaging.event import Event
from prodkit.messaging.outbox import Outbox, outbox
from prodkit.messaging.relay import OutboxRelay
from prodkit.testing.servers import PrivatePostgres

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("postgres")]

STOCK = Table(
    "stock",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("left", Integer, nullable=False),
)


class Moved(SystemClock):
    """The clock of a machine that is wrong by so many seconds."""

    __slots__ = ("_by",)

    def __init__(self, by: float) -> None:
        self._by = by

    def wall(self) -> float:
        return time.time() + self._by


@asynccontextmanager
async def opened(url, *tables):
    database = Database(url)
    await database.start()
    try:
        await database.create_all(saga_store.metadata, *tables)
        yield database
    finally:
        await database.stop()


async def begin(runner, saga, *ids):
    for id_ in ids:
        async with runner.store.database.transaction() as tx:
            await runner.begin(tx, saga, id_, {})


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_clock_that_is_wrong_takes_no_lease_and_delays_nothing(postgres_url, hours):
    """The processes' clocks are an hour apart, and the server's alone counts."""
    ran, gate, entered = Counter(), asyncio.Event(), asyncio.Event()

    async def hold(run):
        ran[run.key] += 1
        entered.set()
        await gate.wait()

    async def flaky(run):
        ran[run.key] += 1
        if run.attempt == 1:
            raise UnavailableError("away")

    held = Saga("held", Step("hold", hold))
    failing = Saga("failing", Step("flaky", flaky, wait_initial=0.05))
    async with opened(postgres_url) as one, opened(postgres_url) as two:
        first = SagaRunner(one, [held, failing], poll=0.05)
        other = SagaRunner(two, [held, failing], poll=0.05, clock=Moved(3600.0 * hours))
        await begin(first, held, "h")
        driving = asyncio.create_task(first.drive("h", within=20))
        await entered.wait()
        await other.start()
        await begin(other, failing, "f")
        async with asyncio.timeout(10):
            while not (await first.get("f")).status.ended:
                await asyncio.sleep(0.02)
        assert (await other.get("h")).owner == first.store.owner
        gate.set()
        await driving
        await other.stop(1)
    assert ran == {"h:hold": 1, "f:flaky": 2}


async def test_relays_whose_clocks_differ_agree_on_leases_and_on_what_is_held_back(postgres_url):
    async with opened(postgres_url, outbox_tables.metadata) as database:
        store = Outbox("/orders")
        wrong = OutboxRelay(database, store, None, clock=Moved(3600.0))
        right = OutboxRelay(database, store, None)
        await wrong._renew()
        await right._renew()
        async with database.read() as tx:
            owners = set((await tx.execute(select(outbox_leases.leases.c.owner))).scalars())
        assert owners == {wrong._owner}  # it has the lease for its length, no shorter, no longer
        units = UnitOfWork(database, store)
        async with units() as work:
            work.record(Event("order.created", "a", {}, id="1"))
        (row,) = await wrong._read()
        async with database.transaction() as tx:
            await wrong._hold_back(tx, row, FailedPreconditionError("no"))
        assert await wrong._read() == []
        async with database.read() as tx:
            until = (await tx.execute(select(outbox.c.next_attempt))).scalar_one()
        assert abs(until - time.time()) < 60


async def test_an_effect_and_its_record_survive_conflicts_together(postgres_url):
    """Units of work that repeat after a deadlock complete their step once."""
    async with opened(f"{postgres_url}&deadlock_timeout=20ms", STOCK.metadata) as database:
        units = UnitOfWork(database, Outbox("/stock"))
        async with database.transaction() as tx:
            await tx.execute(insert(STOCK), [{"id": 1, "left": 100}, {"id": 2, "left": 100}])

        async def take(run):
            async def both(work):
                for row in run.state["rows"]:
                    change = update(STOCK).where(STOCK.c.id == row)
                    await work.execute(change.values(left=STOCK.c.left - 1))
                    await asyncio.sleep(0.005)
                await run.complete(work.tx)

            await units.run(both, attempts=20)

        saga = Saga("take", Step("take", take), Step("again", take))
        runner = SagaRunner(database, [saga])
        await runner.start()
        for number in range(20):
            rows = (1, 2) if number % 2 else (2, 1)
            async with database.transaction() as tx:
                await runner.begin(tx, saga, f"s{number}", {"rows": rows})
        for number in range(20):
            record = await runner.drive(f"s{number}", within=20)
            assert (record.status, record.progress.attempts) == (SagaStatus.COMPLETED, 0)
        await runner.stop(1)
        async with database.read() as tx:
            left = list((await tx.execute(select(STOCK.c.left))).scalars())
        assert left == [60, 60]


async def test_a_saga_takes_a_statement_a_step_and_one_to_begin(postgres_url):
    async def act(run):
        pass

    saga = Saga("s", Step("one", act), Step("two", act))
    statements = Counter()
    async with opened(postgres_url) as database:
        runner = SagaRunner(database, [saga], poll=100)
        await runner.start()
        await asyncio.sleep(0.2)

        def count(_connection, _cursor, statement, *_):
            statements[statement.split()[0]] += 1

        event.listen(database.writer.sync_engine, "before_cursor_execute", count)
        await begin(runner, saga, "s1")
        record = await runner.drive("s1", within=10)
        event.remove(database.writer.sync_engine, "before_cursor_execute", count)
        await runner.stop(1)
    assert record.status is SagaStatus.COMPLETED
    assert statements == {"INSERT": 1, "UPDATE": 2}


def command(url, *words, code=0):
    done = CliRunner().invoke(app, ["saga", *words], env={"DATABASE_URL": url})
    assert done.exit_code == code, done.output
    return done.output.splitlines()


async def test_an_operator_lists_shows_retries_and_abandons(postgres_url):
    healed = False

    async def fail(run):
        if not healed:
            raise UnavailableError("away", retry_after=3600)

    saga = Saga("checkout", Step("pay", fail))
    async with opened(postgres_url) as database:
        runner = SagaRunner(database, [saga], poll=0.05)
        await begin(runner, saga, "a", "b")
        for id_ in "ab":
            await runner.drive(id_, within=0.0)
        await runner.stop(5)
        lines = await asyncio.to_thread(command, postgres_url, "list", "-s", "running")
        assert [line.split("\t")[0] for line in lines] == ["a", "b"]
        (shown,) = await asyncio.to_thread(command, postgres_url, "show", "a", "--json")
        assert json.loads(shown)["error"] == "UnavailableError: away"
        healed = True
        await runner.start()
        await asyncio.to_thread(command, postgres_url, "retry", "a")
        assert (await runner.drive("a", within=10)).status is SagaStatus.COMPLETED
        await asyncio.to_thread(command, postgres_url, "abandon", "b", "-r", "by hand")
        assert (await runner.get("b")).status is SagaStatus.ABANDONED
        await runner.stop(1)


def test_a_database_that_refuses_says_so_in_one_line(postgres: PrivatePostgres):
    (line,) = command(f"{postgres.dsn}_not_there", "list", code=2)
    assert "not_there" in line
