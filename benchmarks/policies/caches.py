"""Caches that have the answer, and loaders that collect a hundred keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.policies import floors
from benchmarks.policies.measure import Contestant, Pair, Row

KEYS = 100


async def value_of(key: int) -> str:
    return f"value of {key}"


async def nothing(_key: int) -> None:
    return None


async def hit(get: Callable[[int], Awaitable[Any]]) -> Pair:
    """Measure the second time that a key is asked for."""
    await get(1)
    return Pair(lambda: get(1), lambda: nothing(1))


async def ours() -> Pair:
    from prodkit.data.cache import Cache

    cache: Cache[int, str] = Cache(ttl=3600.0)
    return await hit(lambda key: cache.get(key, value_of))


async def ours_decorated() -> Pair:
    from prodkit.data.cache import cached

    return await hit(cached(ttl=3600.0)(value_of))


async def async_lru() -> Pair:
    from async_lru import alru_cache

    return await hit(alru_cache(maxsize=1000, ttl=3600.0)(value_of))


async def aiocache() -> Pair:
    from aiocache import cached

    return await hit(cached(ttl=3600)(value_of))


async def cashews() -> Pair:
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://?size=1000")
    return await hit(cache(ttl="1h", key="key:{key}")(value_of))


async def nopanic() -> Pair:
    from nopanic import cache

    return await hit(cache(ttl=3600.0)(value_of))


async def fetch(keys: list[int]) -> list[int]:
    return keys


def batched(load: Callable[[int], Awaitable[int]]) -> Pair:
    """Measure a hundred keys that are asked for in one turn, gathered as everybody gathers them."""

    async def once() -> None:
        await asyncio.gather(*[load(key) for key in range(KEYS)])

    return Pair(once, nothing_at_all, things=KEYS)


async def nothing_at_all() -> None:
    return None


def our_loader() -> Pair:
    from prodkit.data.loader import Loader

    return batched(Loader(fetch, max_batch=KEYS).load)


def aiodataloader() -> Pair:
    from aiodataloader import DataLoader

    return batched(DataLoader(fetch, cache=False).load)


ROWS = [
    Row(
        "cache hit",
        [
            Contestant("floor", lambda: Pair(floors.cache(), lambda: nothing(1))),
            Contestant("prodkit", ours),
            Contestant("prodkit, decorated", ours_decorated),
            Contestant("async-lru", async_lru),
            Contestant("nopanic", nopanic),
            Contestant("aiocache", aiocache),
            Contestant("cashews", cashews),
        ],
        budget=1.5,
    ),
    Row(
        "data loader, a key",
        [
            Contestant("floor", lambda: batched(floors.loader(fetch))),
            Contestant("prodkit", our_loader),
            Contestant("aiodataloader", aiodataloader),
        ],
        budget=1.3,
        of_floor=True,
        over="nothing",
        loops=("uvloop", "asyncio"),
    ),
]
