"""How often a process waits for PostgreSQL: what each operation asks of it."""

import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select, update

from prodkit.data.database import Database
from prodkit.data.lock import SqlLock
from prodkit.data.lock import metadata as lock_tables
from prodkit.data.saga import store as saga_store
from prodkit.data.saga.definition import Progress, SagaStatus
from prodkit.data.saga.table import SagaRecord
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.messaging import inbox as inbox_tables
from prodkit.messaging import outbox as outbox_tables
from prodkit.messaging.event import Event
from prodkit.messaging.inbox import Inbox
from prodkit.messaging.outbox import Outbox
from prodkit.messaging.relay import OutboxRelay
from prodkit.policies.claim import Terms
from prodkit.stores import sql

sys.path.insert(0, str(Path(__file__).parent))
from wire import wired

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("postgres")]

METADATA = MetaData()
ROWS = Table("tripped", METADATA, Column("id", Integer, primary_key=True), Column("n", Integer))
COUNT = select(func.count()).select_from(ROWS)


@asynccontextmanager
async def opened(url, *metadata):
    async with wired(url) as (way, wire):
        database = Database(way)
        await database.start()
        await database.create_all(METADATA, *metadata)
        try:
            yield database, wire
        finally:
            await database.stop()


async def test_a_single_statement_takes_one(postgres_url):
    async with opened(postgres_url) as (database, wire):
        assert await wire.of(database.ping) == 1
        assert await wire.of(lambda: database.fetch(COUNT)) == 1
        assert await wire.of(lambda: database.execute(update(ROWS).values(n=1))) == 1


async def test_a_transaction_takes_two_more_than_its_statements(postgres_url):
    async with opened(postgres_url) as (database, wire):

        async def read():
            async with database.read() as tx:
                await tx.execute(COUNT)
                await tx.execute(COUNT)

        async def write():
            async with database.transaction() as tx:
                await tx.execute(insert(ROWS).values(n=1))

        assert await wire.of(read) == 4
        assert await wire.of(write) == 3


async def test_a_transaction_in_which_nothing_is_asked_takes_none(postgres_url):
    """Neither is a connection asked whether it lives, nor told to roll nothing back."""
    async with opened(postgres_url) as (database, wire):

        async def nothing():
            async with database.read():
                pass

        assert await wire.of(nothing) == 0


async def test_a_saga_takes_one_for_each_thing_that_is_done_to_it(postgres_url):
    async with opened(postgres_url, saga_store.metadata) as (database, wire):
        store = saga_store.SagaStore(database, owner="me")
        numbers = iter(range(1000))
        saga = SagaRecord("", "s", Progress(SagaStatus.RUNNING, "a", {}), ("a", "b"))

        async def begin():
            nonlocal saga
            saga = replace(saga, id=str(next(numbers)))
            async with database.transaction() as tx:
                await store.insert(tx, saga, lease=5)

        assert await wire.of(begin) == 3
        assert await wire.of(lambda: store.get(saga.id)) == 1
        assert await wire.of(lambda: store.save(saga, saga.progress, lease=5)) == 1
        assert await wire.of(lambda: store.acquire(saga.id, ["s"], 5)) == 1
        assert await wire.of(lambda: store.due(["s"], 5)) == 1
        assert await wire.of(store.counts) == 1
        assert await wire.of(lambda: store.release(saga.id)) == 1


class Broker:
    """Takes everything."""

    async def publish(self, messages, *, mandatory):
        pass


async def test_a_relay_takes_one_to_keep_its_partitions_one_to_look_and_one_to_mark(postgres_url):
    async with opened(postgres_url, outbox_tables.metadata) as (database, wire):
        outbox = Outbox("/orders")
        relay = OutboxRelay(database, outbox, Broker())

        async def renew():
            relay._renew_at = 0.0
            await relay._renew()
            assert len(relay._partitions) == 16

        async def report():
            relay._report_at = 0.0
            await relay._report()

        async def publish():
            async with UnitOfWork(database, outbox)() as work:
                work.record(Event("order.created", "1", {}))
            await relay._turn()

        assert await wire.of(renew) == 1
        assert await wire.of(report) == 1
        relay._renew_at = relay._held_until = relay._report_at = float("inf")
        assert await wire.of(relay._turn) == 1
        assert await wire.of(publish) == 3 + 1 + 1
        assert (await database.fetch(select(outbox_tables.outbox.c.sent_at))).scalars().all()


async def test_an_inbox_and_keys_and_locks_take_one_for_each_statement(postgres_url):
    tables = (inbox_tables.metadata, sql.metadata, lock_tables)
    async with opened(postgres_url, *tables) as (database, wire):
        inbox, keys, lock = Inbox("c"), sql.SqlIdempotencyStore(database.writer), SqlLock(database)
        terms, names = Terms(lease=5.0, retention=60.0), (f"n{number}" for number in range(1000))
        told = {"now": 1.0, "terms": terms}

        async def handle():
            async with database.transaction() as tx:
                assert await inbox.first_time(tx, Event("a.b", "1", {}, source="/x"))

        async def claim():
            assert await keys.claim(next(names), b"", "me", **told) is None

        assert await wire.of(handle) == 1 + 2
        assert await wire.of(claim) == 1
        await keys.claim("k", b"", "me", **told)
        assert await wire.of(lambda: keys.claim("k", b"", "you", **told)) == 2
        assert await wire.of(lambda: keys.extend("k", "me", **told)) == 1
        assert await wire.of(lambda: keys.complete("k", "me", b"", **told)) == 1
        assert await wire.of(lambda: keys.release("k", "me")) == 1
        assert await wire.of(lambda: lock.acquire(next(names), 5.0)) == 1
        assert await wire.of(lambda: lock.renew("n", 1, 5.0)) == 1
        assert await wire.of(lambda: lock.release("n", 1)) == 1
