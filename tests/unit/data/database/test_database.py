import asyncio
import random
import sqlite3
import threading
from contextlib import suppress

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from prodkit.data.database import Database
from prodkit.errors import ConfigurationError, UnavailableError
from prodkit.holding import HeldConnectionError, check_nothing_held

pytestmark = pytest.mark.anyio

METADATA = MetaData()
PAIRS = Table("pairs", METADATA, Column("id", Integer, primary_key=True), Column("value", Integer))


@pytest.fixture
async def database(tmp_path):
    database = Database(tmp_path / "test.sqlite", wait=0.3)
    await database.start()
    await database.create_all(METADATA)
    yield database
    await database.stop()


async def count(database):
    async with database.read() as tx:
        return (await tx.execute(select(func.count()).select_from(PAIRS))).scalar_one()


async def test_commits_at_the_end_and_rolls_back_on_an_exception(database):
    async with database.transaction() as tx:
        await tx.execute(insert(PAIRS).values(value=1))

    async def fail() -> None:
        async with database.transaction() as tx:
            await tx.execute(insert(PAIRS).values(value=2))
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await count(database) == 1


async def test_who_listens_hears_of_commits_alone(database):
    heard = []

    async def roll_back(how) -> None:
        async with database.transaction() as tx:
            tx.on_commit(lambda: heard.append("rolled back"))
            await how(tx)

    async def fail(_):
        raise KeyError

    async with database.transaction() as tx:
        tx.on_commit(lambda: heard.append(1))
        tx.on_commit(lambda: heard.append(2))
        await tx.execute(insert(PAIRS).values(value=1))
        assert heard == []
    assert heard == [1, 2]
    with pytest.raises(KeyError):
        await roll_back(fail)
    await roll_back(lambda tx: tx.connection.rollback())
    assert heard == [1, 2]


async def test_errors_do_not_tell_the_values_of_a_statement(database):
    with pytest.raises(OperationalError, match="no such column") as caught:
        async with database.transaction() as tx:
            await tx.execute(text("SELECT nonsense FROM pairs WHERE id = :id"), {"id": "canary"})
    assert "canary" not in str(caught.value)


async def test_a_read_sees_one_state_and_cannot_write(database):
    async with database.read() as tx:
        before = (await tx.execute(select(func.count()).select_from(PAIRS))).scalar_one()
        async with database.transaction() as writer:
            await writer.execute(insert(PAIRS).values(value=1))
        after = (await tx.execute(select(func.count()).select_from(PAIRS))).scalar_one()
        assert before == after == 0
        with pytest.raises(OperationalError, match="readonly"):
            await tx.execute(insert(PAIRS).values(value=1))


async def test_syncs_every_commit_in_wal_mode(database):
    async with database.transaction() as tx:
        pragmas = [
            (await tx.connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert pragmas == ["wal", 2, 1]


async def test_waiting_for_the_writer_is_bounded(database):
    async with database.transaction():
        with pytest.raises(UnavailableError, match="busy") as caught:
            async with database.transaction():
                pass
    assert caught.value.retry_after is not None


async def test_a_lock_held_by_another_process_reads_unavailable(database, tmp_path):
    other = sqlite3.connect(tmp_path / "test.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(UnavailableError, match="locked by another process"):
            async with database.transaction():
                pass
    finally:
        other.close()
    async with database.transaction() as tx:
        await tx.execute(insert(PAIRS).values(value=1))


async def test_a_transaction_may_end_in_another_task_than_it_began_in(database):
    """As those of test fixtures do, and of generators that nobody ran to their end."""
    opened = database.transaction()
    tx = await asyncio.create_task(opened.__aenter__())
    await tx.execute(insert(PAIRS).values(value=7))
    await opened.__aexit__(None, None, None)
    async with database.read() as tx:
        assert (await tx.execute(select(PAIRS.c.value))).scalars().all() == [7]


async def test_a_database_that_cannot_be_written_reads_unavailable(database):
    async with database.transaction() as tx:
        await tx.execute(text("PRAGMA query_only = ON"))
        with pytest.raises(UnavailableError, match="is read-only"):
            await tx.execute(insert(PAIRS).values(value=1))


async def test_a_file_that_is_no_database_reads_unavailable(tmp_path):
    path = tmp_path / "text"
    path.write_text("no database " * 100)
    database = Database(path)
    with pytest.raises(UnavailableError, match="is no SQLite database"):
        await database.start()
    await database.stop()


async def test_a_database_that_cannot_be_opened_reads_unavailable(tmp_path):
    database = Database(tmp_path / "no" / "such" / "folder")
    with pytest.raises(UnavailableError, match="cannot be opened"):
        await database.start()
    await database.stop()
    # The driver's thread outlives a failed connect by a moment, and must not outlive the loop.
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            await asyncio.to_thread(thread.join)


async def test_a_full_disk_reads_unavailable_and_leaves_no_half_row(database):
    async def fill() -> None:
        async with database.transaction() as tx:
            pages = (await tx.connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
            await tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            await tx.execute(insert(PAIRS), [{"value": value} for value in range(20_000)])

    with pytest.raises(UnavailableError, match="no space left"):
        await fill()
    assert await count(database) == 0


async def test_an_error_of_the_statement_stays_what_it_is(database):
    with pytest.raises(OperationalError, match="no such column"):
        async with database.transaction() as tx:
            await tx.connection.exec_driver_sql("SELECT nonsense FROM pairs")


async def test_a_time_out_in_the_block_stays_what_it_is(database):
    with pytest.raises(TimeoutError):
        async with database.transaction():
            raise TimeoutError


async def test_a_thousand_aborts_leave_nothing_behind(database):
    """Scenario 23: no half transaction, nothing checked out, and the next writer is served."""
    chance = random.Random(23)

    async def pair() -> None:
        async with database.transaction() as tx:
            await tx.execute(insert(PAIRS).values(value=1))
            await tx.execute(insert(PAIRS).values(value=2))

    async def abort() -> None:
        task = asyncio.create_task(pair())
        await asyncio.sleep(chance.random() * 0.02)
        task.cancel()
        with suppress(asyncio.CancelledError, UnavailableError):
            await task

    for _ in range(50):
        await asyncio.gather(*(abort() for _ in range(20)))
    assert database.writer.pool.checkedout() == 0
    async with database.read() as tx:
        halves = select(PAIRS.c.value, func.count()).group_by(PAIRS.c.value)
        counts = {amount for _, amount in (await tx.execute(halves)).all()}
    assert len(counts) <= 1
    before = await count(database)
    await pair()
    assert await count(database) == before + 2


async def test_who_is_cancelled_while_committing_leaves_after_the_commit(database, monkeypatch):
    committing, go_on = asyncio.Event(), asyncio.Event()
    commit = AsyncConnection.commit

    async def slow_commit(connection):
        committing.set()
        await go_on.wait()
        await commit(connection)

    monkeypatch.setattr(AsyncConnection, "commit", slow_commit)

    async def write() -> None:
        async with database.transaction() as tx:
            tx.on_commit(lambda: heard.append(True))
            await tx.execute(insert(PAIRS).values(value=1))

    heard = []
    task = asyncio.create_task(write())
    await committing.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    assert not heard
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await count(database) == 1
    assert heard == [True]


async def test_a_remote_call_inside_a_transaction_is_refused(database):
    check_nothing_held("GET stock")
    async with database.transaction():
        with pytest.raises(HeldConnectionError, match=r"GET stock: .* of database;"):
            check_nothing_held("GET stock")
        child = asyncio.create_task(asyncio.sleep(0))
        await child
    check_nothing_held("GET stock")


async def test_a_task_that_outlives_the_transaction_may_call(database):
    closed = asyncio.Event()

    async def later() -> None:
        await closed.wait()
        check_nothing_held("GET stock")

    async with database.transaction():
        task = asyncio.create_task(later())
    closed.set()
    await task


async def test_memory_is_a_private_file_that_goes_away():
    first, second = Database(":memory:"), Database("sqlite+aiosqlite:///:memory:")
    for database in (first, second):
        await database.start()
        await database.create_all(METADATA)
    async with first.transaction() as tx:
        await tx.execute(insert(PAIRS).values(value=1))
    assert (await count(first), await count(second)) == (1, 0)
    for database in (first, second):
        await database.stop()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "mysql://user:secret@host/db"}, "postgresql://user:password@host:port/name"),
        ({"url": "x.sqlite", "readers": 0}, "readers"),
        ({"url": "x.sqlite", "wait": 0}, "wait"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises((ConfigurationError, ValueError), match=message):
        Database(**options)
