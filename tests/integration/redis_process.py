"""One process of a fleet on one Redis, for tests that need several; prints what came of it."""

import asyncio
import json
import sqlite3
import sys
import time

from prodkit.data.cache import Cache, Shared
from prodkit.policies.rate_limiter import SlidingLog
from prodkit.stores.redis import (
    RedisCacheStore,
    RedisConnection,
    RedisLock,
    RedisRateLimitStore,
)


def tell(what):
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def line():
    return await asyncio.to_thread(sys.stdin.readline)


async def limit(redis, key, calls, window, seconds, skew):
    """Take as much as one can get, most of it around the turn of each window; print when."""
    store, window = RedisRateLimitStore(redis), float(window)
    log, stamps = SlidingLog(int(calls), per=window), []

    async def hammer(until, pause):
        while time.time() < until:
            now = round((time.monotonic() + float(skew)) * 1e9)  # a clock that nobody should trust
            at, wait, *_ = await store.take(key, (log,), 1, now, 0)
            if wait == 0:
                stamps.append(at)
            await asyncio.sleep(pause)

    tell("ready")
    begin = float(await line())
    await asyncio.sleep(begin - time.time())
    turn = begin
    while turn < begin + float(seconds):
        turn += window
        await hammer(turn - window / 4, window / 20)  # a trickle, so that the log is never empty
        await asyncio.gather(*(hammer(turn + window / 8, 0) for _ in range(4)))
    tell(json.dumps(stamps))


async def load(redis, key, callers):
    """Ask a cold cache often at once; print how often this process loaded."""
    loads = []

    async def loader(name):
        loads.append(name)
        await asyncio.sleep(0.2)
        return name

    shared = Shared(
        RedisCacheStore(redis), namespace="v1", dumps=str.encode, loads=bytes.decode, ttl=60.0
    )
    cache = Cache(ttl=10.0, shared=shared)
    tell("ready")
    await line()
    answers = await asyncio.gather(*(cache.get(key, loader) for _ in range(int(callers))))
    assert set(answers) == {key}
    tell(len(loads))


async def write(redis, name, path, lease):
    """Take the lock, wait to be told to write, and write; a thousand things may lie between."""
    lock = RedisLock(redis)
    with sqlite3.connect(path) as database:
        while await line():
            token = None
            while token is None:
                token = await lock.acquire(name, float(lease))
            tell(token)
            await line()
            with database:
                done = database.execute(
                    "UPDATE thing SET value = 'stale', fence = ? WHERE fence <= ?", (token, token)
                )
            tell(done.rowcount)


async def main(url, what, *options):
    async with RedisConnection(url, timeout=5.0) as redis:
        await {"limit": limit, "load": load, "write": write}[what](redis, *options)


asyncio.run(main(*sys.argv[1:]))
