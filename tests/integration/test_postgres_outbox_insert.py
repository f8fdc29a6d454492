"""The outbox row goes straight to the driver: it fails as any other statement does."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from prodkit.data.database import Database
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import ConfigurationError, UnavailableError
from prodkit.messaging import outbox as outbox_tables
from prodkit.messaging.event import Event
from prodkit.messaging.outbox import Outbox

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("postgres")]

OUTBOX = outbox_tables.outbox


class Shop:
    def __init__(self, url):
        self.database = Database(url)
        self.units = UnitOfWork(self.database, Outbox("/orders"))

    async def record(self, *events, after="SELECT 1"):
        """Record in a unit of work that did something before, or (`after=""`) nothing."""
        async with self.units() as work:
            if after:
                await work.execute(text(after))
            work.record(*events)

    async def ids(self):
        async with self.database.read() as tx:
            return (await tx.execute(select(OUTBOX.c.id).order_by(OUTBOX.c.seq))).scalars().all()


@asynccontextmanager
async def opened(url, *, tables=True):
    shop = Shop(url)
    await shop.database.start()
    if tables:
        await shop.database.create_all(outbox_tables.metadata)
    try:
        yield shop
    finally:
        await shop.database.stop()


def happened(id_, type_="order.created", subject="1"):
    return Event(type_, subject, {"total": "9.90"}, id=id_)


async def test_rows_keep_their_order_however_many_there_are_and_whatever_came_before(postgres_url):
    async with opened(postgres_url) as shop:
        await shop.record(happened("a"))
        await shop.record(happened("b"), happened("c"))
        await shop.record(happened("d"), after="")
        assert await shop.ids() == ["a", "b", "c", "d"]


async def test_the_row_holds_the_event(postgres_url):
    async with opened(postgres_url) as shop:
        await shop.record(happened("a"))
        async with shop.database.read() as tx:
            row = (await tx.execute(select(OUTBOX))).one()
        read = Event.from_json(row.body)
        assert (read.id, read.source, read.data) == ("a", "/orders", {"total": "9.90"})
        assert row.request_id == read.request_id
        assert row.created_at == pytest.approx(read.time, abs=1e-5)  # the document has microseconds
        assert row.sent_at is None


async def test_it_does_not_pass_through_sqlalchemy(postgres_url):
    seen = []
    async with opened(postgres_url) as shop:
        engine = shop.database.writer.sync_engine
        event.listen(engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
        await shop.record(happened("a"))
    assert seen == ["SELECT 1"]


@pytest.mark.parametrize("after", ["SELECT 1", ""])
@pytest.mark.parametrize("number", [1, 2])
async def test_errors_are_those_of_any_statement(postgres_url, after, number):
    async with opened(postgres_url) as shop:
        await shop.record(happened("a"))
        with pytest.raises(IntegrityError) as twice:
            await shop.record(*[happened("a")] * number, after=after)
        assert "order.created" not in str(twice.value)
        with pytest.raises(DBAPIError):
            await shop.record(*[happened("b", "t" * 300)] * number, after=after)
        assert await shop.ids() == ["a"]


async def test_a_schema_that_was_not_migrated_is_named(postgres_url):
    async with opened(postgres_url, tables=False) as shop:
        with pytest.raises(ConfigurationError, match="has its schema been migrated"):
            await shop.record(happened("a"))


async def test_a_failure_takes_with_it_what_came_before(postgres_url):
    async with opened(postgres_url) as shop:
        await shop.record(happened("a"))
        with pytest.raises(IntegrityError):
            await shop.record(happened("b"), happened("b"), after="DELETE FROM outbox")
        assert await shop.ids() == ["a"]


async def hang(work):
    """Stop the backend of this unit of work; return what lets it go on."""
    pid = (await work.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    os.kill(pid, signal.SIGSTOP)
    return lambda: os.kill(pid, signal.SIGCONT)


async def test_a_hung_server_costs_the_connection(postgres_url):
    async with opened(postgres_url) as shop:
        go_on = None

        async def record():
            nonlocal go_on
            async with shop.units() as work:
                go_on = await hang(work)
                work.record(happened("a"))

        try:
            with pytest.raises(UnavailableError, match="does not answer"):
                await record()
            assert shop.database.writer.pool.checkedout() == 0
            assert await shop.ids() == []
        finally:
            go_on()
        await shop.record(happened("b"))
        assert await shop.ids() == ["b"]


async def test_whoever_is_cancelled_in_it_leaves_no_half_used_connection(postgres_url):
    async with opened(postgres_url) as shop:
        hung = asyncio.get_running_loop().create_future()

        async def record():
            async with shop.units() as work:
                hung.set_result(await hang(work))
                work.record(happened("a"))

        task = asyncio.create_task(record())
        go_on = await hung
        try:
            await asyncio.sleep(0.05)  # it waits for the server now
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert shop.database.writer.pool.checkedout() == 0
        finally:
            go_on()
        assert await shop.ids() == []
