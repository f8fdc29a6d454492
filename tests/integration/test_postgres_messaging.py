"""Outbox, inbox and sagas on PostgreSQL: several processes, late commits, and kill -9."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, update

from prodkit.clock import SYSTEM_CLOCK
from prodkit.data.database import Database, TransactionConflictError
from prodkit.data.saga import Saga, SagaRunner, SagaStatus, Step
from prodkit.data.saga import store as saga_store
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import AlreadyExistsError
from prodkit.messaging import inbox as inbox_tables
from prodkit.messaging import outbox as outbox_tables
from prodkit.messaging import outbox_leases
from prodkit.messaging.event import Event
from prodkit.messaging.inbox import Inbox
from prodkit.messaging.outbox import Outbox
from prodkit.messaging.relay import OutboxRelay

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("postgres")]

METADATA = MetaData()
STOCK = Table(
    "stock",
    METADATA,
    Column("sku", String(10), primary_key=True),
    Column("available", Integer, nullable=False),
)
TABLES = (METADATA, outbox_tables.metadata, inbox_tables.metadata, saga_store.metadata)


class Broker:
    def __init__(self):
        self.published = []
        self.arrived = asyncio.Event()

    async def publish(self, messages, /, *, mandatory=True):
        await asyncio.sleep(0.001)
        self.published += [(each.key, each.id, time.monotonic()) for each in messages]
        self.arrived.set()

    async def until(self, number, seconds=10.0):
        async with asyncio.timeout(seconds):
            while len(self.published) < number:
                self.arrived.clear()
                await self.arrived.wait()


class Replica:
    """One process of a service, with connections of its own."""

    def __init__(self, url, broker, *, poll=0.2):
        self.database = Database(url)
        self.outbox = Outbox("/orders")
        self.units = UnitOfWork(self.database, self.outbox)
        self.relay = OutboxRelay(self.database, self.outbox, broker, poll=poll, lease=1.0)

    async def record(self, *events):
        async with self.units() as work:
            work.record(*events)

    @asynccontextmanager
    async def running(self, *, relay=True):
        await self.database.start()
        try:
            await self.database.create_all(*TABLES)
            if relay:
                await self.relay.start()
            yield self
        finally:
            await self.relay.stop(1)
            await self.database.stop()


def event(id_, subject="a"):
    return Event("order.created", subject, {"id": id_}, id=id_)


async def test_an_event_whose_transaction_commits_late_is_published(postgres_url):
    """Scenario 27: the earlier number commits last, and no cursor has gone past it."""
    broker = Broker()
    async with Replica(postgres_url, broker).running() as replica:
        async with replica.units() as late:
            await replica.outbox.append(late.tx, [event("late")])
            await replica.record(event("early", "b"))
            await broker.until(1)
            await asyncio.sleep(0.3)  # a poll or two
            assert [id_ for _, id_, _ in broker.published] == ["early"]
        committed = time.monotonic()
        await broker.until(2)
        assert broker.published[1][1] == "late"
        assert broker.published[1][2] - committed <= 0.2 + 1


async def test_a_commit_wakes_the_relay_of_another_process(postgres_url):
    broker = Broker()
    async with (
        Replica(postgres_url, broker, poll=30.0).running(),
        Replica(postgres_url, Broker(), poll=30.0).running(relay=False) as writer,
    ):
        await asyncio.sleep(0.3)
        writer.relay._bell.start()
        await asyncio.sleep(0.2)
        await writer.record(event("1"))
        await broker.until(1, seconds=2.0)


async def test_the_bell_comes_back_after_its_connection_is_lost(postgres_url):
    broker = Broker()
    async with Replica(postgres_url, broker, poll=30.0).running() as replica:
        await asyncio.sleep(0.3)
        connection = await asyncpg.connect(postgres_url)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'listen%'"
        )
        await asyncio.sleep(1.5)
        heard = []
        replica.relay._bell._heard = lambda: heard.append(True)
        await connection.execute("NOTIFY prodkit_outbox")
        await asyncio.sleep(0.2)
        await connection.close()
        assert heard


async def test_relays_share_the_partitions_and_keep_the_order_of_each_subject(postgres_url):
    brokers = [Broker() for _ in range(3)]
    first, second, third = (Replica(postgres_url, broker) for broker in brokers)
    async with first.running(), second.running(), third.running():
        async with asyncio.timeout(10):
            while {len(each.relay._partitions) for each in (first, second, third)} - {4, 5, 6}:
                await asyncio.sleep(0.05)
        held = [each.relay._partitions for each in (first, second, third)]
        assert sorted(partition for each in held for partition in each) == list(range(16))
        for number in range(60):
            replica = (first, second, third)[number % 3]
            await replica.record(event(f"{number:03}", f"s{number % 12}"))
        async with asyncio.timeout(10):
            while sum(len(broker.published) for broker in brokers) < 60:
                await asyncio.sleep(0.05)
    published = [row for broker in brokers for row in broker.published]
    assert max(Counter(id_ for _, id_, _ in published).values()) == 1
    assert all(broker.published for broker in brokers)
    for broker in brokers:
        order = defaultdict(list)
        for subject, id_, _ in broker.published:
            order[subject].append(id_)
        assert all(ids == sorted(ids) and len(ids) == 5 for ids in order.values())


async def test_relays_that_renew_at_once_agree(postgres_url):
    async with Replica(postgres_url, Broker()).running(relay=False) as replica:

        async def renew(owner):
            async with replica.database.transaction() as tx:
                now = time.time()
                return await outbox_leases.renew(tx, owner, 16, now, now + 60)

        for _ in range(8):
            held = await asyncio.gather(*(renew(f"relay{number}") for number in range(6)))
        assert sorted(partition for each in held for partition in each) == list(range(16))


async def test_what_was_taken_meanwhile_is_not_kept(postgres_url):
    """Who keeps its partitions waits for who shares them out, and sees what came of that."""
    async with Replica(postgres_url, Broker()).running(relay=False) as replica:
        database = replica.database

        async def keep():
            return await outbox_leases.keep(database, "first", 16, 60.0, SYSTEM_CLOCK)

        async def share_out(owner, wait=0.0):
            async with database.transaction() as tx:
                now = time.time()
                held = await outbox_leases.renew(tx, owner, 16, now, now + 60)
                await asyncio.sleep(wait)
            return held

        assert await keep() == frozenset()  # it has none yet
        assert await share_out("first") == await keep() == set(range(16))
        await database.execute(update(outbox_leases.leases).values(until=0.0))
        assert await keep() == frozenset()  # they ended
        await database.execute(update(outbox_leases.leases).values(until=time.time() + 60))
        assert await keep() == set(range(16))
        sharing = asyncio.create_task(share_out("second", wait=0.3))
        await asyncio.sleep(0.1)
        assert await keep() == frozenset()  # there are two now: it is to give some up
        assert await sharing == frozenset()
        await share_out("first")
        await share_out("second")
        mine = await keep()
        await database.execute(
            update(outbox_leases.leases)
            .where(outbox_leases.leases.c.owner == "first")
            .values(until=time.time() - 1)  # as if it had slept
        )
        sharing = asyncio.create_task(share_out("third", wait=0.3))
        await asyncio.sleep(0.1)
        kept = await keep()
        taken = await sharing
        assert mine & taken
        assert not kept & taken


async def test_relays_that_keep_and_share_out_at_once_never_hold_the_same(postgres_url):
    async with Replica(postgres_url, Broker()).running(relay=False) as replica:
        database, chance = replica.database, random.Random(5)

        async def turn(owner):
            kept = await outbox_leases.keep(database, owner, 16, 60.0, SYSTEM_CLOCK)
            if kept and chance.random() < 0.5:
                return kept
            if chance.random() < 0.2:
                async with database.transaction() as tx:
                    await outbox_leases.leave(tx, owner)
                return frozenset()
            async with database.transaction() as tx:
                now = time.time()
                return await outbox_leases.renew(tx, owner, 16, now, now + 60)

        for _ in range(15):
            held = await asyncio.gather(*(turn(f"relay{number}") for number in range(4)))
            found = sorted(partition for each in held for partition in each)
            assert len(found) == len(set(found))


async def test_the_backlog_tells_how_old_and_how_much(postgres_url):
    async with Replica(postgres_url, Broker()).running(relay=False) as replica:
        await replica.record(event("1"), event("2"))
        await asyncio.sleep(0.1)
        await replica.relay._report()
        assert replica.relay.backlog.pending == 2
        assert 0.1 <= replica.relay.backlog.age < 5


async def test_an_event_that_comes_to_several_consumers_at_once_takes_effect_once(postgres_url):
    replicas = [Replica(postgres_url, Broker()) for _ in range(3)]
    async with (
        replicas[0].running(relay=False),
        replicas[1].running(relay=False),
        replicas[2].running(relay=False),
    ):
        await put_stock(replicas[0].database, a=100)

        async def reserve(event, work):
            await work.execute(update(STOCK).values(available=STOCK.c.available - 1))
            await asyncio.sleep(0.02)

        handlers = [Inbox("stock").handler(each.units, reserve) for each in replicas]
        delivered = [Event("e", "a", {}, id=f"{n}", source="/o") for n in range(5)] * 5
        await asyncio.gather(
            *(handlers[n % 3](each) for n, each in enumerate(delivered)),
        )
        assert await stock(replicas[0].database) == {"a": 95}


async def put_stock(database, **skus):
    async with database.transaction() as tx:
        await tx.execute(insert(STOCK), [{"sku": k, "available": v} for k, v in skus.items()])


async def stock(database):
    async with database.read() as tx:
        return dict((await tx.execute(select(STOCK.c.sku, STOCK.c.available))).all())


async def test_baskets_in_opposite_order_all_get_through(postgres_url):
    """Scenario 2, small: deadlocks are the server's to find, and ours to repeat."""
    conflicts = 0
    # The server looks for deadlocks after this time, a second by default.
    async with Replica(f"{postgres_url}&deadlock_timeout=20ms", Broker()).running(
        relay=False
    ) as replica:
        await put_stock(replica.database, a=1000, b=1000)

        async def buy(basket):
            async def take(work):
                nonlocal conflicts
                for sku in basket:
                    change = update(STOCK).where(STOCK.c.sku == sku, STOCK.c.available > 0)
                    try:
                        await work.execute(change.values(available=STOCK.c.available - 1))
                    except TransactionConflictError:
                        conflicts += 1
                        raise
                    await asyncio.sleep(0.005)

            await replica.units.run(take, attempts=20)

        baskets = [("a", "b"), ("b", "a")] * 15
        await asyncio.gather(*(buy(basket) for basket in baskets))
        assert await stock(replica.database) == {"a": 970, "b": 970}
    assert conflicts > 0


async def test_a_hot_item_is_sold_as_often_as_it_is_there(postgres_url):
    """Scenario 1, small."""
    async with Replica(postgres_url, Broker()).running(relay=False) as replica:
        await put_stock(replica.database, a=20)

        async def take(work):
            change = update(STOCK).where(STOCK.c.sku == "a", STOCK.c.available > 0)
            done = await work.execute(change.values(available=STOCK.c.available - 1))
            return done.rowcount

        sold = await asyncio.gather(*(replica.units.run(take) for _ in range(100)))
        assert await stock(replica.database) == {"a": 0}
    assert sum(sold) == 20


async def test_serializable_units_decide_on_what_they_read(postgres_url):
    async with Replica(postgres_url, Broker()).running(relay=False) as replica:
        await put_stock(replica.database, a=3, b=3)

        async def take(sku):
            async def function(work):
                left = (await work.execute(select(STOCK.c.available))).scalars().all()
                await asyncio.sleep(0.01)
                if sum(left) > 4:
                    change = update(STOCK).where(STOCK.c.sku == sku)
                    await work.execute(change.values(available=STOCK.c.available - 1))

            await replica.units.run(function, serializable=True, attempts=30)

        await asyncio.gather(*(take(sku) for sku in "abababab"))
        assert sum((await stock(replica.database)).values()) == 4


async def test_two_runners_share_sagas_and_run_each_step_once(postgres_url):
    ran = Counter()

    async def act(run):
        ran[run.key] += 1
        await asyncio.sleep(0.01)

    saga = Saga("checkout", Step("reserve", act), Step("pay", act))
    replicas = [Replica(postgres_url, Broker()) for _ in range(2)]
    async with replicas[0].running(relay=False), replicas[1].running(relay=False):
        runners = [SagaRunner(each.database, [saga], poll=0.02) for each in replicas]
        for number in range(20):
            async with replicas[0].database.transaction() as tx:
                await runners[0].begin(tx, saga, f"s{number}", {})
        with pytest.raises(AlreadyExistsError):
            async with replicas[0].database.transaction() as tx:
                await runners[0].begin(tx, saga, "s0", {})
        for runner in runners:
            await runner.start()
        for number in range(20):
            record = await runners[number % 2].drive(f"s{number}", within=10)
            assert record.status is SagaStatus.COMPLETED
        for runner in runners:
            await runner.stop(1)
    assert set(ran.values()) == {1}
    assert len(ran) == 40


def killed(script, folder, kills, urls, **settings):
    """Run a script that kills its workers, and return how many it killed."""
    process = Path(__file__).with_name(script)
    # Connecting takes longer than opening a file, so the workers get more time.
    environment = {**os.environ, "PACE": "3", **settings}
    environment |= {f"{name}_URL": url for name, url in urls.items()}
    command = [sys.executable, str(process), str(folder), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


async def rows(url, statement):
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


KILLS = pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.slow)])


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kills", "settings"),
    [
        (4, {}),
        pytest.param(
            100,
            {"ORDERS": "10000", "CUSTOMERS": "16", "PACE": "8", "QUIESCE": "600"},
            marks=pytest.mark.slow,
            id="10,000 orders",
        ),
    ],
)
async def test_what_committed_is_handled_once_whatever_is_killed(
    tmp_path, postgres_url, postgres_url_2, kills, settings
):
    """Scenarios 26 and 30: what is acknowledged is published; what rolled back is not."""
    began, urls = time.monotonic(), {"ORDERS": postgres_url, "MAIL": postgres_url_2}
    dead = killed("messaging_process.py", tmp_path, kills, urls, **settings)
    took = time.monotonic() - began
    committed = {event for (event,) in await rows(postgres_url, "SELECT event FROM orders")}
    published = {event for (event,) in await rows(postgres_url, "SELECT id FROM outbox")}
    handled = await rows(postgres_url_2, "SELECT event, subject, version FROM handled ORDER BY seq")
    acknowledged = set((tmp_path / "acknowledged").read_text().split())
    print(  # noqa: T201 - its figures
        f"\n26 outbox: {dead} kills in {took:.0f} s; {len(acknowledged)} orders acknowledged,"
        f" {len(committed)} committed, {len(published)} published, {len(handled)} handled once"
    )
    assert len(acknowledged) >= int(settings.get("ORDERS", 1))
    assert acknowledged <= committed == published == {event for event, _, _ in handled}
    assert max(Counter(event for event, _, _ in handled).values()) == 1


@KILLS
async def test_every_saga_ends_all_or_nothing_whatever_is_killed(
    tmp_path, postgres_url, postgres_url_2, kills
):
    """Scenario 4, small."""
    killed("saga_process.py", tmp_path, kills, {"ORDERS": postgres_url, "LEDGER": postgres_url_2})
    effects = defaultdict(set)
    for saga, step in await rows(postgres_url_2, "SELECT saga, step FROM ledger"):
        effects[saga].add(step)
    expected = {"completed": {"reserve", "pay", "confirm"}, "compensated": set()}
    sagas = await rows(postgres_url, "SELECT id, status FROM saga")
    assert sagas
    for saga, status in sagas:
        assert effects.pop(saga, set()) == expected[status]
    assert not effects
