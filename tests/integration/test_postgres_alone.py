"""Single statements, `fetch` and `execute`: they promise what a transaction of one does."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager, nullcontext, suppress

import asyncpg
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from prodkit.data.database import Database, PostgresOptions, TransactionConflictError
from prodkit.errors import ConfigurationError, UnavailableError

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("postgres")]

METADATA = MetaData()
ROWS = Table("alone", METADATA, Column("id", Integer, primary_key=True), Column("n", Integer))
LIMITS = PostgresOptions(pool=2, statement=0.6, lock=0.5, connect=1.0)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "test.sqlite")
    return request.getfixturevalue("postgres_url")


@asynccontextmanager
async def opened(url):
    database = Database(url, name="shop", wait=0.5, postgres=LIMITS)
    await database.start()
    await database.create_all(METADATA)
    try:
        yield database
    finally:
        await database.stop()


@pytest.fixture
async def database(url):
    async with opened(url) as database:
        yield database


@pytest.fixture
async def shop(postgres_url):
    async with opened(postgres_url) as database:
        yield database


async def there(database):
    return (await database.fetch(select(ROWS.c.id).order_by(ROWS.c.id))).scalars().all()


def put(database, number):
    return database.execute(insert(ROWS).values(id=number))


class TestBothEngines:
    async def test_what_was_executed_is_committed(self, database, url):
        assert (await put(database, 1)).rowcount == 1
        changed = await database.execute(update(ROWS).values(n=7).returning(ROWS.c.n))
        assert changed.scalars().all() == [7]
        async with opened(url) as other:
            assert await there(other) == [1]

    async def test_a_statement_happens_as_a_whole_or_not_at_all(self, database):
        await put(database, 3)
        many = insert(ROWS).values([{"id": number} for number in (1, 2, 3)])
        with pytest.raises(IntegrityError) as caught:
            await database.execute(many)
        assert "DETAIL" not in str(caught.value)
        assert await there(database) == [3]

    async def test_rows_that_were_found_outlive_the_connection(self, database):
        for number in range(3):
            await put(database, number)
        found = await database.fetch(select(ROWS))
        await database.execute(delete(ROWS))
        assert [row.id for row in found] == [0, 1, 2]

    async def test_transactions_after_them_still_roll_back(self, database):
        async def fail():
            async with database.transaction() as tx:
                await tx.execute(insert(ROWS).values(id=1))
                raise KeyError

        for _ in range(4):  # whichever connection it gets
            await put(database, 2)
            with pytest.raises(KeyError):
                await fail()
            assert await there(database) == [2]
            await database.execute(delete(ROWS))

    async def test_reads_after_them_still_see_one_state_and_cannot_write(self, database):
        await there(database)
        async with database.read() as tx:
            before = (await tx.execute(select(ROWS))).all()
            await put(database, 1)
            assert (await tx.execute(select(ROWS))).all() == before == []
        with pytest.raises(DBAPIError, match=r"read.?only"):
            async with database.read() as tx:
                await tx.execute(insert(ROWS).values(id=2))

    @pytest.mark.parametrize("statement", [insert(ROWS).values(id=9), text("SELECT 1")])
    async def test_only_a_select_can_be_fetched(self, database, statement):
        with pytest.raises(TypeError, match="fetch runs a SELECT"):
            await database.fetch(statement)

    async def test_several_statements_are_no_single_one(self, database):
        with pytest.raises(TypeError, match="several belong into transaction"):
            await database.execute(insert(ROWS), [{"id": 1}, {"id": 2}])

    async def test_it_waits_as_long_as_told_where_there_is_one_writer(self, database):
        one = database.dialect == "sqlite"
        told = pytest.raises(UnavailableError, match="busy") if one else nullcontext()
        async with database.transaction():
            with told:
                await put(database, 1)
        if one:
            await put(database, 1)

    async def test_whoever_is_cancelled_leaves_after_it(self, database):
        """Nothing that was begun happens later."""
        for number in range(30):
            task = asyncio.create_task(put(database, number))
            for _ in range(number % 10):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):  # it may have ended
                await task
            now = await there(database)
            assert await there(database) == now
        assert database.writer.pool.checkedout() == 0
        await put(database, 100)


def hang(pids):
    """Stop these backends; return what lets them go on."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)

    def go_on():
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    return go_on


async def backends(url):
    connection = await asyncpg.connect(url, timeout=10)
    try:
        rows = await connection.fetch(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'shop'"
        )
    finally:
        await connection.close()
    return [row["pid"] for row in rows]


class TestPostgres:
    async def test_a_hung_server_is_given_up_in_time(self, shop, postgres_url):
        await put(shop, 1)
        for work in (lambda: there(shop), lambda: put(shop, 2)):
            await there(shop)
            go_on = hang(await backends(postgres_url))
            try:
                async with asyncio.timeout(3):
                    with pytest.raises(UnavailableError, match="does not answer"):
                        await work()
                assert shop.writer.pool.checkedout() == 0
            finally:
                go_on()
        assert set(await there(shop)) <= {1, 2}

    async def test_whoever_gives_up_a_fetch_leaves_at_once(self, shop, postgres_url):
        await there(shop)
        go_on = hang(await backends(postgres_url))
        try:
            task = asyncio.create_task(there(shop))
            await asyncio.sleep(0.05)
            task.cancel()
            async with asyncio.timeout(LIMITS.statement / 2):
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert shop.writer.pool.checkedout() == 0
        finally:
            go_on()

    async def test_whoever_gives_up_an_execute_knows_that_it_is_over(self, shop):
        """It waits for a row here; an UPDATE that is left behind would change it later."""
        await put(shop, 1)
        async with shop.transaction() as tx:
            await tx.execute(update(ROWS).values(n=1))
            task = asyncio.create_task(shop.execute(update(ROWS).values(n=2)))
            await asyncio.sleep(0.1)
            task.cancel()
            await asyncio.sleep(0.05)
            assert not task.done()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with shop.read() as tx:
            assert (await tx.execute(select(ROWS.c.n))).scalar_one() == 2

    async def test_a_connection_that_was_cut_meanwhile_is_replaced(self, shop, postgres_url):
        for work in (lambda: there(shop), lambda: put(shop, 5)):
            await there(shop)
            for pid in await backends(postgres_url):
                os.kill(pid, signal.SIGTERM)
            await asyncio.sleep(0.1)
            await work()

    async def test_errors_are_those_of_a_transaction(self, shop):
        await put(shop, 1)
        async with shop.transaction() as tx:
            await tx.execute(update(ROWS).values(n=1))
            with pytest.raises(UnavailableError, match="locked"):
                await shop.execute(update(ROWS).values(n=2))
        conflict = "DO $$ BEGIN RAISE serialization_failure; END $$"
        with pytest.raises(TransactionConflictError):
            await shop.execute(text(conflict))
        with pytest.raises(ConfigurationError, match="has its schema been migrated"):
            await shop.execute(text("DELETE FROM nowhere"))
        assert shop.writer.pool.checkedout() == 0

    async def test_a_failure_at_the_commit_is_one(self, shop):
        """A constraint that is checked at the end: the statement itself succeeds."""
        async with shop.transaction() as tx:
            await tx.execute(text("DROP TABLE alone"))
            await tx.execute(
                text("CREATE TABLE alone (id int UNIQUE DEFERRABLE INITIALLY DEFERRED, n int)")
            )
        await put(shop, 1)
        with pytest.raises(IntegrityError):
            await put(shop, 1)
        assert await there(shop) == [1]
