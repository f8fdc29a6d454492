"""The database on PostgreSQL: the same promises as on SQLite, and an end to every wait."""

import asyncio
import random
import time
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from prodkit.data.database import Database, PostgresOptions
from prodkit.data.lock import SqlLock
from prodkit.data.lock import metadata as lock_tables
from prodkit.data.pagination import encode_cursor, page
from prodkit.errors import AbortedError, ConfigurationError, InvalidArgumentError, UnavailableError
from prodkit.stores import sql
from prodkit.testing import FaultProxy, ManualClock
from prodkit.testing.conformance import check_idempotency_store

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("postgres")]

METADATA = MetaData()
PAIRS = Table(
    "pairs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("value", Integer),
    Column("name", String(20), unique=True),
)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "test.sqlite")
    return request.getfixturevalue("postgres_url")


@asynccontextmanager
async def opened(url, *metadata, **options):
    database = Database(url, **options)
    await database.start()
    await database.create_all(*metadata)
    try:
        yield database
    finally:
        await database.stop()


@pytest.fixture
async def database(url):
    async with opened(url, METADATA, sql.metadata, lock_tables) as database:
        yield database


@pytest.fixture
async def shop(postgres_url):
    """A PostgreSQL database with short limits."""
    options = PostgresOptions(pool=4, statement=0.4, lock=0.3, idle_in_transaction=0.5, connect=0.5)
    async with opened(postgres_url, METADATA, name="shop", wait=0.5, postgres=options) as database:
        yield database


async def total(database):
    async with database.read() as tx:
        return (await tx.execute(select(func.count()).select_from(PAIRS))).scalar_one()


async def put(database, **values):
    async with database.transaction() as tx:
        await tx.execute(insert(PAIRS).values(**values))


async def asked(url, statement):
    """Ask the server by the side door."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def others(states):
    return (
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
        f"AND pid <> pg_backend_pid() AND state IN ({states})"
    )


class TestBothEngines:
    async def test_commit_and_roll_back(self, database):
        await put(database, id=1, value=1)

        async def fail() -> None:
            async with database.transaction() as tx:
                await tx.execute(insert(PAIRS).values(id=2, value=2))
                raise KeyError

        with pytest.raises(KeyError):
            await fail()
        assert await total(database) == 1

    async def test_a_read_sees_one_state_and_cannot_write(self, database):
        async with database.read() as tx:
            count = select(func.count()).select_from(PAIRS)
            before = (await tx.execute(count)).scalar_one()
            await put(database, value=1)
            assert (await tx.execute(count)).scalar_one() == before == 0
        with pytest.raises(DBAPIError, match=r"read.?only"):
            async with database.read() as tx:
                await tx.execute(insert(PAIRS).values(value=1))

    async def test_insert_new_says_whether_it_did_and_the_transaction_goes_on(self, database):
        async with database.transaction() as tx:
            assert await tx.insert_new(PAIRS, {"id": 1, "name": "a"})
            assert not await tx.insert_new(PAIRS, {"id": 1, "name": "b"})
            await tx.execute(insert(PAIRS).values(id=2))
        assert await total(database) == 2

    async def test_errors_do_not_tell_the_values_of_rows(self, database):
        await put(database, id=1, name="canary")
        with pytest.raises(IntegrityError) as caught:
            await put(database, id=2, name="canary")
        causes = [caught.value, caught.value.orig, caught.value.__cause__]
        causes += [getattr(each, "__cause__", None) for each in causes]
        assert "canary" not in " ".join(f"{each!s} {each!r}" for each in causes)

    async def test_pages(self, database):
        for number in range(7):
            await put(database, id=number, value=number % 2, name=f"n{number}")
        seen, cursor = [], ""
        while True:
            async with database.read() as tx:
                found = await page(
                    tx, select(PAIRS), PAIRS.c.value, PAIRS.c.id, size=3, cursor=cursor
                )
            seen += [row.id for row in found.rows]
            if not (cursor := found.next_cursor):
                break
        assert seen == [0, 2, 4, 6, 1, 3, 5]

    @pytest.mark.parametrize("key", [2**40, -(2**63)])
    async def test_a_forged_cursor_chooses_a_place_and_nothing_else(self, database, key):
        async with database.read() as tx:
            found = await page(tx, select(PAIRS), PAIRS.c.id, size=3, cursor=encode_cursor(key))
        assert found.rows == []

    @pytest.mark.parametrize("key", ["\0", "\ud800"])
    async def test_text_that_no_database_holds_is_no_cursor(self, database, key):
        async with database.read() as tx:
            with pytest.raises(InvalidArgumentError):
                await page(tx, select(PAIRS), PAIRS.c.name, size=3, cursor=encode_cursor(key))

    async def test_the_idempotency_store_conforms(self, database):
        clock = ManualClock()
        await check_idempotency_store(
            sql.SqlIdempotencyStore(database.writer),
            now=clock.wall,
            advance=clock.advance,
            begin=database.writer.begin,
        )

    async def test_a_lock_is_held_by_one_and_known_by_its_token(self, database):
        lock = SqlLock(database)
        tokens = await asyncio.gather(*(lock.acquire("a", 0.3) for _ in range(5)))
        (first,) = [token for token in tokens if token is not None]
        assert await lock.renew("a", first, 0.2)
        await asyncio.sleep(0.3)
        second = await lock.acquire("a", 10)
        assert second > first
        with pytest.raises(AbortedError, match="lost"):
            async with database.transaction() as tx:
                await lock.guard(tx, "a", first)
        async with database.transaction() as tx:
            await lock.guard(tx, "a", second)
            assert await lock.purge(tx) == 0
        assert await lock.release("a", second)

    async def test_a_guarded_lock_is_not_taken_before_the_commit(self, shop):
        await shop.create_all(lock_tables)
        lock = SqlLock(shop)
        token = await lock.acquire("a", 0.05)
        async with shop.transaction() as tx:
            await lock.guard(tx, "a", token)
            await asyncio.sleep(0.1)
            taking = asyncio.create_task(lock.acquire("a", 10))
            await asyncio.sleep(0.1)
            assert not taking.done()
        assert await taking > token

    async def test_a_missing_table_is_named_at_the_check(self, database):
        other = MetaData()
        Table("absent", other, Column("id", Integer, primary_key=True))
        await database.check_tables(METADATA)
        with pytest.raises(ConfigurationError, match="no table absent: migrate it before"):
            await database.check_tables(METADATA, other)

    async def test_client_disconnects_leave_nothing_behind(self, database, url):
        """Scenario 23: nothing checked out, no half rows, and the next one is served."""
        chance = random.Random(23)

        async def pair() -> None:
            async with database.transaction() as tx:
                await tx.execute(insert(PAIRS).values(value=1))
                await tx.execute(insert(PAIRS).values(value=2))

        async def abort() -> None:
            task = asyncio.create_task(pair())
            await asyncio.sleep(chance.random() * 0.05)
            task.cancel()
            with suppress(asyncio.CancelledError, UnavailableError):
                await task

        for _ in range(10):
            await asyncio.gather(*(abort() for _ in range(10)))
        assert database.writer.pool.checkedout() == 0
        async with database.read() as tx:
            halves = select(PAIRS.c.value, func.count()).group_by(PAIRS.c.value)
            assert len({amount for _, amount in (await tx.execute(halves)).all()}) <= 1
        await pair()
        if database.dialect == "postgresql":
            assert await asked(url, others("'idle in transaction', 'active'")) == 0


class TestLimits:
    async def test_a_statement_that_takes_too_long_is_ended(self, shop, postgres_url):
        with pytest.raises(UnavailableError, match="took too long"):
            async with shop.read() as tx:
                await tx.execute(text("SELECT pg_sleep(5)"))
        assert await asked(postgres_url, others("'active'")) == 0

    async def test_waiting_for_a_row_is_bounded(self, shop):
        await put(shop, id=1, value=0)
        change = update(PAIRS).values(value=1)
        async with shop.transaction() as tx:
            await tx.execute(change)
            with pytest.raises(UnavailableError, match="locked"):
                async with shop.transaction() as other:
                    await other.execute(change)

    async def test_waiting_for_a_connection_is_bounded(self, shop):
        async with shop.read(), shop.read(), shop.read(), shop.read():
            with pytest.raises(UnavailableError, match="no connection came free"):
                async with shop.read():
                    pass
        await shop.ping()

    async def test_an_idle_transaction_is_ended(self, shop, postgres_url):
        async def dawdle() -> None:
            async with shop.transaction() as tx:
                await tx.execute(text("SELECT 1"))
                await asyncio.sleep(0.8)
                await tx.execute(text("SELECT 1"))

        with pytest.raises(UnavailableError, match=r"idle for too long|lost its"):
            await dawdle()
        await shop.ping()

    async def test_a_statement_that_is_cancelled_costs_its_connection(self, shop):
        async def sleep() -> None:
            async with shop.transaction() as tx:
                await tx.execute(text("SELECT pg_sleep(0.3)"))

        async def pid():
            async with shop.transaction() as tx:
                return (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one()

        first = await pid()
        task = asyncio.create_task(sleep())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await pid() != first

    async def test_a_failure_that_is_ignored_does_not_read_as_committed(self, shop):
        """PostgreSQL answers that COMMIT with a ROLLBACK, and drivers do not look."""
        await put(shop, id=1)

        async def ignore() -> None:
            async with shop.transaction() as tx:
                await tx.execute(insert(PAIRS).values(id=2))
                with suppress(IntegrityError):
                    await tx.execute(insert(PAIRS).values(id=1))

        with pytest.raises(DBAPIError, match="nothing was committed"):
            await ignore()
        assert await total(shop) == 1

    @pytest.mark.parametrize("option", ["connect", "statement", "lock", "idle_in_transaction"])
    @pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, 0.0001])
    def test_wrong_times_are_named(self, option, value):
        with pytest.raises(ConfigurationError, match=option):
            PostgresOptions(**{option: value})

    @pytest.mark.parametrize(("option", "value"), [("pool", 0), ("overflow", -1), ("pool", True)])
    def test_wrong_numbers_are_named(self, option, value):
        with pytest.raises(ConfigurationError, match=option):
            PostgresOptions(**{option: value})


class TestStarting:
    async def refusal(self, url, expected, match):
        database = Database(url, name="shop", postgres=PostgresOptions(connect=0.5))
        assert "s3cret" not in repr(database)
        with pytest.raises(expected, match=match) as caught:
            await database.start()
        error = caught.value
        while error is not None:
            assert "s3cret" not in f"{error!s} {error!r}"
            error = error.__cause__

    async def test_wrong_credentials(self, postgres, postgres_url):
        url = postgres_url.replace("postgres@", "nobody:s3cret@")
        await self.refusal(url, ConfigurationError, r"shop \(postgresql://nobody@.*password")

    async def test_no_such_database(self, postgres):
        url = f"postgresql://postgres:s3cret@127.0.0.1:{postgres.port}/none"
        await self.refusal(url, ConfigurationError, "does not exist: create it")

    async def test_nobody_listens(self):
        url = "postgresql://u:s3cret@127.0.0.1:1/shop"
        await self.refusal(url, UnavailableError, r"postgresql://u@127.0.0.1:1/shop\) cannot be")

    async def test_nobody_answers(self, postgres):
        proxy = FaultProxy("127.0.0.1", postgres.port)
        async with proxy:
            proxy.black_hole()
            url = f"postgresql://postgres:s3cret@127.0.0.1:{proxy.port}/postgres"
            started = time.monotonic()
            await self.refusal(url, UnavailableError, "does not answer")
            assert time.monotonic() - started < 2

    @pytest.mark.parametrize("password", ["s3cret/", "s3cret?", "s3cret#", "s3cret@x:y/"])
    async def test_a_url_that_cannot_be_read(self, password):
        url = f"postgresql://u:{password}s3cret@host/shop"
        await self.refusal(url, ConfigurationError, "cannot be read: postgresql://user:password@")

    @pytest.mark.parametrize(
        "url", ["mysql://u:s3cret@host/shop", "postgresql+psycopg2://u:s3cret@h"]
    )
    def test_other_databases_are_refused(self, url):
        with pytest.raises(ConfigurationError, match="a database is a path or") as caught:
            Database(url)
        assert "s3cret" not in str(caught.value)

    async def test_a_table_that_is_not_there_reads_not_migrated(self, postgres_url):
        async with opened(postgres_url) as database:
            with pytest.raises(ConfigurationError, match='"pairs" does not exist: has its schema'):
                await total(database)

    async def test_many_replicas_may_create_the_tables_at_once(self, postgres_url):
        databases = [Database(postgres_url) for _ in range(5)]
        await asyncio.gather(*(each.start() for each in databases))
        await asyncio.gather(*(each.create_all(METADATA, sql.metadata) for each in databases))
        for each in databases:
            await each.stop()
