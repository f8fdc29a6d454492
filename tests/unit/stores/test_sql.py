import asyncio

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select, text
from sqlalchemy.exc import OperationalError

from prodkit.data.database import Database
from prodkit.errors import Code, ConfigurationError, UnavailableError
from prodkit.policies.claim import Record, Terms
from prodkit.stores.sql import SqlIdempotencyStore, keys, metadata
from prodkit.testing import ManualClock
from prodkit.testing.conformance import check_idempotency_store

pytestmark = pytest.mark.anyio
TERMS = Terms(lease=10, retention=100)
effects_metadata = MetaData()
effects = Table("effects", effects_metadata, Column("id", Integer, primary_key=True))


@pytest.fixture
async def database():
    database = Database(":memory:", wait=0.5)
    await database.start()
    await database.create_all(metadata, effects_metadata)
    yield database
    await database.stop()


async def count(database, table):
    async with database.read() as tx:
        return (await tx.execute(select(func.count()).select_from(table))).scalar_one()


async def test_it_conforms(database):
    clock = ManualClock()
    await check_idempotency_store(
        SqlIdempotencyStore(database.writer),
        now=clock.wall,
        advance=clock.advance,
        begin=database.writer.begin,
    )


async def test_effect_and_answer_roll_back_together(database):
    store = SqlIdempotencyStore(database.writer)
    await store.claim("key", b"print", "me", now=0, terms=TERMS)

    async def handler():
        async with database.transaction() as tx:
            await tx.execute(insert(effects).values(id=1))
            assert await store.complete("key", "me", b"done", now=0, terms=TERMS, tx=tx.connection)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await handler()
    assert await count(database, effects) == 0
    assert await store.claim("key", b"print", "you", now=0, terms=TERMS) == Record(b"print", None)


async def test_only_a_connection_is_a_transaction(database):
    store = SqlIdempotencyStore(database.writer)
    await store.claim("key", b"print", "me", now=0, terms=TERMS)
    with pytest.raises(TypeError, match="AsyncConnection"):
        await store.complete("key", "me", b"", now=0, terms=TERMS, tx=database)


async def test_purge_takes_what_is_over_and_no_more_than_asked(database):
    store = SqlIdempotencyStore(database.writer)
    for second in range(10):
        await store.claim(str(second), b"", "me", now=second, terms=TERMS)
    assert await store.purge(105, rows=4) == 4
    assert await store.purge(105) == 2
    assert await store.purge(105) == 0
    assert await count(database, keys) == 4


async def test_claims_sweep_so_that_the_table_stays_small(database):
    store = SqlIdempotencyStore(database.writer)
    for second in range(1200):
        await store.claim(str(second), b"", "me", now=second, terms=TERMS)
    assert await count(database, keys) < 100 + 256 + 1


async def test_a_busy_database_is_away_and_nothing_was_claimed(database):
    store = SqlIdempotencyStore(database.writer)
    async with database.transaction():
        with pytest.raises(UnavailableError) as away:
            await store.claim("key", b"", "me", now=0, terms=TERMS)
    assert (away.value.code, away.value.reason) == (Code.UNAVAILABLE, "IDEMPOTENCY_STORE_AWAY")
    assert await count(database, keys) == 0


async def test_a_missing_table_is_a_mistake_and_says_so():
    database = Database(":memory:")
    await database.start()
    with pytest.raises(OperationalError, match="no such table"):
        await SqlIdempotencyStore(database.writer).claim("key", b"", "me", now=0, terms=TERMS)
    await database.stop()


async def test_a_cancelled_claim_ends_before_its_caller_does(database):
    store = SqlIdempotencyStore(database.writer)
    claim = asyncio.create_task(store.claim("key", b"", "me", now=0, terms=TERMS))
    await asyncio.sleep(0)
    claim.cancel()
    await asyncio.sleep(0)
    claim.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claim
    assert await count(database, keys) == 1
    async with database.transaction() as tx:  # the writer is whole
        await tx.execute(text("SELECT 1"))


def test_other_databases_are_refused():
    class Engine:
        class dialect:  # noqa: N801
            name = "mysql"

    with pytest.raises(ConfigurationError, match="mysql"):
        SqlIdempotencyStore(Engine())
