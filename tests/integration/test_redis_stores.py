"""The stores on a real Redis: keys, circuits, caches and locks of a fleet, and what faults do."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from prodkit import Call, Pipeline
from prodkit.errors import CircuitOpenError, ConfigurationError, UnavailableError
from prodkit.policies.circuit_breaker import SharedCircuitBreaker, State
from prodkit.policies.claim import Terms
from prodkit.policies.idempotency import Idempotency, LostClaimError
from prodkit.stores.redis import (
    RedisBreakerStore,
    RedisCacheStore,
    RedisConnection,
    RedisIdempotencyStore,
    RedisLock,
    RedisRateLimitStore,
)
from prodkit.testing.conformance import (
    check_breaker_store,
    check_cache,
    check_idempotency_store,
    check_rate_limit_store,
)
from prodkit.testing.servers import PrivateRedis
from prodkit.transports.asgi import PipelineMiddleware

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("redis stores")]
PROCESS = Path(__file__).parent / "redis_process.py"
#: Seconds. A busy machine may need so long; what hangs takes twice that, or for ever.
SOON = 5.0


@pytest.fixture(scope="module")
def server():
    with PrivateRedis() as server:
        yield server


@pytest.fixture
async def redis(server):
    async with RedisConnection(server.url, timeout=5.0) as redis:
        yield redis


def start(url, *options):
    command = [sys.executable, str(PROCESS), url, *map(str, options)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


async def test_they_conform(redis):
    """On Redis's own clock; the checks know by themselves where a late loop proves nothing."""
    by_itself = {"advance": asyncio.sleep, "concurrently": True}
    await asyncio.gather(
        check_rate_limit_store(RedisRateLimitStore(redis), now=time.monotonic, **by_itself),
        check_idempotency_store(RedisIdempotencyStore(redis), now=time.time, **by_itself),
        check_breaker_store(RedisBreakerStore(redis), now=time.monotonic, **by_itself),
        check_cache(RedisCacheStore(redis), **by_itself),
    )


def test_they_say_where_they_keep_things():
    redis = RedisConnection("redis://h")
    shown = [
        repr(kind(redis, prefix="shop:x"))
        for kind in (
            RedisBreakerStore,
            RedisCacheStore,
            RedisIdempotencyStore,
            RedisLock,
            RedisRateLimitStore,
        )
    ]
    assert shown[0] == "RedisBreakerStore('shop:x')"
    assert all(text.endswith("('shop:x')") for text in shown)


class TestIdempotency:
    class Bank:
        """A route for money behind an idempotency key in Redis."""

        def __init__(self, redis):
            self.store = RedisIdempotencyStore(redis, prefix=f"bank {id(self)}")
            self.runs = []
            self.gate = None

            policy = Idempotency(
                self.store, secret=b"s" * 32, required=True, scope=lambda call: "ann"
            )
            app = Starlette(routes=[Route("/payments", self.pay, methods=["POST"])])
            door = PipelineMiddleware(app, Pipeline(policy))
            transport = httpx2.ASGITransport(door, raise_app_exceptions=False)
            self.client = httpx2.AsyncClient(transport=transport, base_url="http://bank")

        async def pay(self, request):
            self.runs.append(request.headers["idempotency-key"])
            if self.gate is not None:
                await self.gate.wait()
            return JSONResponse({"run": len(self.runs)}, 201)

        async def post(self, key):
            began = time.monotonic()
            headers = {"idempotency-key": f'"{key}"'}
            answer = await self.client.post("/payments", headers=headers, json={"amount": 10})
            return answer, time.monotonic() - began

    async def test_nothing_runs_while_redis_hangs(self, server):
        """Scenario 12: 503 in time, and no execution without a record."""
        async with RedisConnection(server.url) as redis:
            bank = self.Bank(redis)
            first, _ = await bank.post("before")
            server.pause()
            try:
                sent = await asyncio.gather(*(bank.post(f"hung {n}") for n in range(50)))
                sent += [await bank.post(f"later {n}") for n in range(10)]
            finally:
                server.resume()
            assert first.status_code == 201
            assert {answer.status_code for answer, _ in sent} == {503}
            assert all(answer.headers["retry-after"] == "1" for answer, _ in sent)
            assert bank.runs == ['"before"']
            slowest = max(took for _, took in sent)
            sys.stdout.write(f"the slowest of 60 refusals took {slowest * 1000:.0f} ms\n")
            assert slowest < SOON
            await back(redis)
            again, _ = await bank.post("before")
            assert again.content == first.content
            fresh, _ = await bank.post("after")
            assert (fresh.status_code, bank.runs) == (201, ['"before"', '"after"'])

    async def test_a_handler_that_ran_meanwhile_had_its_record_and_says_that_it_is_lost(
        self, server
    ):
        async with RedisConnection(server.url) as redis:
            bank = self.Bank(redis)
            bank.gate = asyncio.Event()
            task = asyncio.create_task(bank.post("under way"))
            while not bank.runs:
                await asyncio.sleep(0.001)
            server.pause()
            try:
                bank.gate.set()
                answer, took = await task
                assert (answer.status_code, took < SOON) == (503, True)
            finally:
                server.resume()
            await back(redis)
            keys = await redis.execute("KEYS", f"bank {id(bank)}:*")
            assert len(keys) == len(bank.runs) == 1

    async def test_what_redis_forgot_cannot_be_completed(self, redis):
        store, terms = RedisIdempotencyStore(redis), Terms(30.0, 60.0)
        assert await store.claim("forgotten", b"print", "fence", now=0.0, terms=terms) is None
        await redis.execute("FLUSHALL")
        assert not await store.complete("forgotten", "fence", b"result", now=0.0, terms=terms)
        assert LostClaimError.reason == "IDEMPOTENCY_CLAIM_LOST"

    async def test_a_result_stays_as_long_as_it_should(self, redis):
        store, terms = RedisIdempotencyStore(redis), Terms(0.2, 60.0)
        await store.claim("kept", b"print", "fence", now=0.0, terms=terms)
        await store.complete("kept", "fence", b"result", now=0.0, terms=terms)
        left = await redis.execute("PTTL", "prodkit:idempotency:kept")
        assert 59_000 < left <= 60_000


async def back(redis, seconds=5.0):
    """Wait until Redis answers again."""
    end = time.monotonic() + seconds
    while True:
        try:
            await redis.ping()
        except UnavailableError:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
        else:
            return


class TestBreaker:
    class Dependency:
        def __init__(self):
            self.reached = 0
            self.down = True
            self.gate = None

        async def __call__(self, call):
            self.reached += 1
            if self.gate is not None:
                await self.gate.wait()
            if self.down:
                raise UnavailableError("down")
            return "answer"

    async def fleet(self, server, name, size=3):
        """Return breakers as so many processes have them, each with a connection of its own."""
        breakers, connections = [], []
        for _ in range(size):
            connection = RedisConnection(server.url, timeout=5.0)
            await connection.start()
            connections.append(connection)
            breakers.append(
                SharedCircuitBreaker(
                    name,
                    RedisBreakerStore(connection),
                    refresh=0.05,
                    store_timeout=5.0,
                    minimum_throughput=10,
                    break_duration=0.5,
                    half_open_probes=5,
                )
            )
        return breakers, connections

    async def test_a_fleet_opens_together_and_sends_its_probes_together(self, server):
        """Scenario 13 across processes: exactly N of a thousand callers reach the dependency."""
        breakers, connections = await self.fleet(server, "fleet")
        dependency = self.Dependency()
        calls = [Pipeline(breaker).bind(dependency) for breaker in breakers]
        for _ in range(10):
            with pytest.raises(UnavailableError):
                await calls[0](Call("op"))
        await asyncio.sleep(0.06)
        for call in calls:
            with suppress(CircuitOpenError, UnavailableError):
                await call(Call("op"))
        assert {breaker.state for breaker in breakers} == {State.OPEN}

        await asyncio.sleep(0.6)
        dependency.reached, dependency.down, dependency.gate = 0, False, asyncio.Event()
        asked = [asyncio.create_task(call(Call("op"))) for call in calls for _ in range(333)]
        await asyncio.sleep(0.3)
        assert dependency.reached == 5
        dependency.gate.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert answers.count("answer") == 5
        assert sum(isinstance(answer, CircuitOpenError) for answer in answers) == 994
        await asyncio.sleep(0.06)
        assert [await call(Call("op")) for call in calls] == ["answer"] * 3
        assert {breaker.state for breaker in breakers} == {State.CLOSED}
        for connection in connections:
            await connection.aclose()

    async def test_a_circuit_is_forgotten_in_time_unless_it_is_isolated(self, redis):
        store = RedisBreakerStore(redis, memory=60.0)
        await store.reset("closed", "generation", now=0.0)
        assert 59_000 < await redis.execute("PTTL", "prodkit:breaker:closed") <= 60_000
        await store.isolate("closed", now=0.0)
        assert await redis.execute("PTTL", "prodkit:breaker:closed") == -1

    async def test_memory_is_a_time(self):
        with pytest.raises(ConfigurationError, match="memory"):
            RedisBreakerStore(RedisConnection("redis://h"), memory=0)


def test_a_herd_of_processes_loads_once(server):
    """Scenario 36 with a lock: a thousand cold gets in each of three processes, one load in all."""
    processes = [start(server.url, "load", "herd", 1000) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
    loads = [int(process.stdout.readline()) for process in processes]
    for process in processes:
        process.communicate()
    assert sum(loads) == 1


async def test_a_shared_cache_survives_what_redis_forgets(redis):
    store = RedisCacheStore(redis)
    assert await store.acquire("a", "me", ttl=5.0)
    await redis.execute("FLUSHALL")
    await redis.execute("SCRIPT", "FLUSH")
    assert not await store.set("a", b"old", ttl=5.0, holder="me")
    assert await store.get("a") is None


class TestLock:
    async def test_one_holds_it_at_a_time(self, redis):
        lock = RedisLock(redis)
        tokens = await asyncio.gather(*(lock.acquire("one", 5.0) for _ in range(50)))
        (token,) = (token for token in tokens if token is not None)
        assert await lock.acquire("other", 5.0) is not None
        assert not await lock.release("one", token - 1)
        assert await lock.acquire("one", 5.0) is None
        assert await lock.release("one", token)
        assert not await lock.release("one", token)
        assert await lock.acquire("one", 5.0) > token

    async def test_a_lease_ends_unless_it_is_renewed(self, redis):
        lock = RedisLock(redis)
        token = await lock.acquire("lease", 0.2)
        await asyncio.sleep(0.12)
        assert await lock.renew("lease", token, 0.3)
        await asyncio.sleep(0.15)
        assert await lock.acquire("lease", 0.2) is None
        await asyncio.sleep(0.25)
        later = await lock.acquire("lease", 5.0)
        assert later > token
        assert not await lock.renew("lease", token, 5.0)
        assert not await lock.release("lease", token)
        assert await lock.renew("lease", later, 5.0)

    async def test_tokens_increase_whatever_redis_forgets_and_whatever_its_clock_does(self, redis):
        lock, last = RedisLock(redis), 0
        for forget in (False, True, False, True):
            token = await lock.acquire("forever", 5.0)
            assert token > last
            last = token
            await lock.release("forever", token)
            if forget:
                await redis.execute("FLUSHALL")
        ahead = last + 3600 * 10**6  # as if the clock had been an hour ahead, and was set back
        await redis.execute("SET", "prodkit:lock:{forever}:last", ahead)
        assert await lock.acquire("forever", 5.0) == ahead + 1

    @pytest.mark.parametrize("lease", [0, -1.0, float("nan"), True])
    async def test_a_lease_is_a_time(self, redis, lease):
        lock = RedisLock(redis)
        with pytest.raises(ConfigurationError, match="lease"):
            await lock.acquire("x", lease)
        with pytest.raises(ConfigurationError, match="lease"):
            await lock.renew("x", 1, lease)

    async def rounds(self, redis, server, path, rounds):
        """Return how many stale writes of a holder that was paused past its lease got through."""
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE thing (value TEXT, fence INTEGER)")
            database.execute("INSERT INTO thing VALUES ('new', 0)")
        lock, stale, lease = RedisLock(redis), 0, 0.05
        with start(server.url, "write", path.name, path, lease) as holder:
            for _ in range(rounds):
                holder.stdin.write("take the lock\n")
                older = int(holder.stdout.readline())
                holder.send_signal(signal.SIGSTOP)
                token = None
                while token is None:
                    await asyncio.sleep(0.005)
                    token = await lock.acquire(path.name, 5.0)
                assert token > older
                database.execute(
                    "UPDATE thing SET value = 'new', fence = ? WHERE fence <= ?", (token, token)
                )
                database.commit()
                holder.stdin.write("write\n")
                holder.send_signal(signal.SIGCONT)
                stale += int(holder.stdout.readline())
                assert database.execute("SELECT value, fence FROM thing").fetchall() == [
                    ("new", token)
                ]
                await lock.release(path.name, token)
            holder.stdin.close()
        database.close()
        return stale

    async def test_a_holder_that_was_paused_writes_nothing_stale(self, redis, server, tmp_path):
        """Scenario 19: the fence of what the lock protects refuses it, every time."""
        assert await self.rounds(redis, server, tmp_path / "few.db", 20) == 0

    @pytest.mark.slow
    async def test_a_holder_that_was_paused_a_hundred_times(self, redis, server, tmp_path):
        stale = await self.rounds(redis, server, tmp_path / "many.db", 100)
        sys.stdout.write(f"stale writes rejected: {100 - stale} of 100\n")
        assert stale == 0
