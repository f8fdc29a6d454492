"""PostgreSQL hung, killed and cut off: every wait ends, and service goes on without a restart."""

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select, text

from prodkit.data.database import Database
from prodkit.errors import ServiceError, UnavailableError
from prodkit.testing import FaultProxy
from prodkit.testing.servers import PrivatePostgres

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("postgres")]

METADATA = MetaData()
ROWS = Table("faulty_rows", METADATA, Column("id", Integer, primary_key=True))


@pytest.fixture(scope="module")
def server():
    """One to maltreat, so that others keep theirs."""
    with PrivatePostgres() as server:
        yield server


@asynccontextmanager
async def opened(url):
    database = Database(url, name="shop")
    await database.start()
    await database.create_all(METADATA)
    try:
        yield database
    finally:
        started = time.monotonic()
        await database.stop()
        assert time.monotonic() - started < 1  # whatever became of the server


class Lag:
    """How long the loop was kept from its timers, at worst."""

    def __init__(self):
        self.worst = 0.0

    async def __aenter__(self):
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_):
        self._task.cancel()

    async def _watch(self):
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            self.worst = max(self.worst, time.monotonic() - before - 0.005)


async def fails(work, within=2.0):
    """Run it; return the seconds until it raised UnavailableError."""
    started = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        await work
    took = time.monotonic() - started
    assert took <= within + 0.3, took  # the machine may be busy
    return caught.value


async def pid(database):
    async with database.read() as tx:
        return (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one()


async def test_a_hung_backend_costs_its_connection_and_nothing_else(server):
    """Scenario 21: SIGSTOP of the backend."""
    async with opened(server.dsn) as database, Lag() as lag:
        hung = await pid(database)
        os.kill(hung, signal.SIGSTOP)
        try:
            error = await fails(database.ping())
            assert "does not answer" in error.message
            assert database.writer.pool.checkedout() == 0
            assert await pid(database) != hung  # while it still hangs
        finally:
            os.kill(hung, signal.SIGCONT)
        assert lag.worst <= 0.05 * 3


async def test_a_backend_that_hangs_before_the_commit_leaves_its_fate_unknown(server):
    async with opened(server.dsn) as database:
        hung = 0

        async def write():
            nonlocal hung
            async with database.transaction() as tx:
                hung = (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one()
                await tx.execute(insert(ROWS).values(id=100))
                os.kill(hung, signal.SIGSTOP)

        try:
            await fails(write())
            assert database.writer.pool.checkedout() == 0
            await database.ping()
        finally:
            os.kill(hung, signal.SIGCONT)


async def test_a_hung_server_fails_every_call_in_time_and_is_back_when_it_is(server):
    """Scenario 21: SIGSTOP of the postmaster and all its backends."""
    async with opened(server.dsn) as database, Lag() as lag:
        await asyncio.gather(*(database.ping() for _ in range(5)))
        server.pause()
        try:
            await asyncio.gather(*(fails(database.ping(), within=2.0) for _ in range(5)))
            await fails(database.ping())  # also when it takes a new connection
            assert database.writer.pool.checkedout() == 0
        finally:
            server.resume()
        await database.ping()
        assert lag.worst <= 0.05 * 3


async def test_a_service_stops_in_time_while_the_server_hangs(server):
    async with opened(server.dsn) as database:
        await asyncio.gather(*(database.ping() for _ in range(5)))
        server.pause()
    server.resume()


async def test_a_black_hole_in_the_network_is_given_up(server):
    async with FaultProxy("127.0.0.1", server.port) as proxy:
        url = server.dsn.replace(str(server.port), str(proxy.port))
        async with opened(url) as database:
            proxy.black_hole()
            await fails(database.ping())
            proxy.heal()
            await database.ping()


async def test_whoever_gives_up_on_a_hung_server_leaves_at_once(server):
    """A deadline above the database cancels: nobody waits for a goodbye from the server."""
    async with opened(server.dsn) as database:
        await database.ping()
        server.pause()
        try:
            started = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await database.ping()
            assert time.monotonic() - started < 1
            assert database.writer.pool.checkedout() == 0
        finally:
            server.resume()
        await database.ping()


async def put(database, number):
    async with database.transaction() as tx:
        await tx.execute(insert(ROWS).values(id=number))


async def put_alone(database, number):
    await database.execute(insert(ROWS).values(id=number))


@pytest.mark.parametrize("put", [put, put_alone])
async def test_a_kill_under_load_loses_nothing_that_was_acknowledged(server, put):
    """The server dies (kill -9) and comes back; the service is the same all the time."""
    acknowledged, errors = [], []
    async with opened(server.dsn) as database:
        await database.execute(ROWS.delete())
        numbers = iter(range(1000, 1_000_000))
        stopping = False

        async def write():
            while not stopping:
                number = next(numbers)
                try:
                    await put(database, number)
                except ServiceError as error:
                    errors.append(error)
                    await asyncio.sleep(0.02)
                else:
                    acknowledged.append(number)

        writers = [asyncio.create_task(write()) for _ in range(8)]
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(0.2)
        before = len(acknowledged)
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(10):
            while len(acknowledged) < before + 50:
                await asyncio.sleep(0.05)
        stopping = True
        await asyncio.gather(*writers)  # none has died of it
        assert {type(error) for error in errors} == {UnavailableError}
        async with database.read() as tx:
            rows = set((await tx.execute(select(ROWS.c.id))).scalars())
        assert before > 0
        assert rows >= set(acknowledged)


async def test_a_killed_backend_is_one_error_at_most(server):
    async with opened(server.dsn) as database:
        await asyncio.gather(*(database.ping() for _ in range(4)))
        connection = await asyncpg.connect(server.dsn)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shop'"
        )
        await connection.close()
        await asyncio.sleep(0.1)
        for _ in range(5):
            async with database.read() as tx:
                await tx.execute(select(func.count()).select_from(ROWS))
