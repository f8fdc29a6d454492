"""Caches, each as its own documentation uses it, and loaders that batch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.behaviour.scenario import Subject
from benchmarks.behaviour.world import World

Load = Callable[[int], Awaitable[Any]]
#: Puts a cache around a function of one key.
Caching = Callable[[Load], Load]


def prodkit(world: World) -> Caching:
    from prodkit.data.cache import cached

    return cached(ttl=60.0, clock=world)


def async_lru(_world: World) -> Caching:
    from async_lru import alru_cache

    return alru_cache(maxsize=1000, ttl=60.0)


def aiocache_cached(_world: World) -> Caching:
    from aiocache import cached

    return cached(ttl=60)


def aiocache_stampede(_world: World) -> Caching:
    from aiocache import cached_stampede

    return cached_stampede(ttl=60, lease=2)


def cashews_locked(_world: World) -> Caching:
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://?size=1000")
    return cache(ttl="1m", key="key:{key}", lock=True)


def cashews_protected(_world: World) -> Caching:
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://?size=1000")
    return cache(ttl="1m", key="key:{key}")


def nopanic(world: World) -> Caching:
    from nopanic import cache

    return cache(ttl=60.0, clock=world.monotonic)


SUBJECTS: list[Subject[Caching]] = [
    Subject("prodkit", prodkit),
    Subject("async-lru", async_lru),
    Subject("aiocache (cached)", aiocache_cached),
    Subject("aiocache (cached_stampede)", aiocache_stampede),
    Subject("cashews", cashews_protected),
    Subject("cashews (lock=True)", cashews_locked),
    Subject("nopanic", nopanic),
]
