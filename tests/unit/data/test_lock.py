import asyncio

import pytest
from sqlalchemy import func, select

from prodkit.data.database import Database
from prodkit.data.lock import SqlLock, locks, metadata
from prodkit.errors import AbortedError, ConfigurationError
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
def lock(database, clock):
    return SqlLock(database, clock=clock)


async def guarded(lock, name, token):
    async with lock._database.transaction() as tx:
        await lock.guard(tx, name, token)


async def test_one_at_a_time(lock):
    tokens = await asyncio.gather(*(lock.acquire("a", 10) for _ in range(5)))
    assert sum(token is not None for token in tokens) == 1
    assert await lock.acquire("b", 10) is not None


async def test_who_outlived_the_lease_is_known_by_the_token(lock, clock):
    first = await lock.acquire("a", 10)
    await clock.advance(9)
    assert await lock.acquire("a", 10) is None
    await clock.advance(2)
    second = await lock.acquire("a", 10)
    assert second > first
    with pytest.raises(AbortedError, match="lock a was lost"):
        await guarded(lock, "a", first)
    await guarded(lock, "a", second)
    assert not await lock.renew("a", first, 10)
    assert not await lock.release("a", first)
    assert await lock.acquire("a", 10) is None


async def test_tokens_grow_also_while_the_clock_does_not(lock):
    tokens = []
    for _ in range(3):
        tokens.append(await lock.acquire("a", 10))
        assert await lock.release("a", tokens[-1])
    assert tokens == [tokens[0], tokens[0] + 1, tokens[0] + 2]


async def test_renewing_holds_it_for_longer(lock, clock):
    token = await lock.acquire("a", 10)
    await clock.advance(9)
    assert await lock.renew("a", token, 10)
    await clock.advance(9)
    assert await lock.acquire("a", 10) is None
    await clock.advance(2)
    assert not await lock.renew("a", token, 10)
    assert not await lock.release("a", token)


async def test_guarding_a_lock_that_nobody_took_is_refused(lock):
    with pytest.raises(AbortedError):
        await guarded(lock, "a", 1)


async def test_purge_takes_what_was_free_for_a_week(lock, clock, database):
    free, held = await lock.acquire("free", 10), await lock.acquire("held", 30 * 86400)
    await lock.release("free", free)
    async with database.transaction() as tx:
        assert await lock.purge(tx) == 0
    await clock.advance(8 * 86400)
    async with database.transaction() as tx:
        assert await lock.purge(tx) == 1
    async with database.read() as tx:
        assert (await tx.execute(select(func.count()).select_from(locks))).scalar_one() == 1
    assert await lock.acquire("free", 10) > free
    await guarded(lock, "held", held)


async def test_a_lease_must_be_a_time(lock):
    with pytest.raises(ConfigurationError, match="lease"):
        await lock.acquire("a", 0)
