"""The second tier of the caches of a fleet."""

from __future__ import annotations

from typing import cast

from prodkit.stores.redis.command import Word, milliseconds, name
from prodkit.stores.redis.connection import RedisConnection
from prodkit.stores.redis.script import Script


class RedisCacheStore:
    """A CacheStore in Redis: `Cache(shared=Shared(RedisCacheStore(redis), ...))`.

    A value and the lease to load it are two keys in one hash slot, and every step on them is a
    script, so no value that was loaded before an invalidation comes back after it. Redis may evict
    what is kept here (`maxmemory-policy volatile-lru`): that costs a load.
    """

    __slots__ = ("_prefix", "_step")

    def __init__(self, redis: RedisConnection, *, prefix: str = "prodkit:cache") -> None:
        self._prefix = f"{prefix}:{{"
        self._step = Script(redis, "cache")

    async def get(self, key: str, /) -> tuple[bytes, float] | None:
        """Return the value and the seconds that it has left; see CacheStore."""
        found = await self._take(key, "get")
        if found is None:
            return None
        value, left = cast("tuple[bytes, int]", found)
        return value, left / 1000

    async def set(
        self, key: str, value: bytes, /, *, ttl: float, holder: str | None = None
    ) -> bool:
        """Keep `value`, if `holder` still has the lease where one is named; see CacheStore."""
        done = await self._take(key, "set", holder or "", milliseconds(ttl), value)
        return done is not None

    async def delete(self, key: str, /) -> None:
        """Forget the value and end the lease; see CacheStore."""
        await self._take(key, "delete", "")

    async def acquire(self, key: str, holder: str, /, *, ttl: float) -> bool:
        """Give the lease where there is neither value nor lease; see CacheStore."""
        return await self._take(key, "acquire", holder, milliseconds(ttl)) is not None

    async def release(self, key: str, holder: str, /) -> None:
        """End the lease if `holder` has it; see CacheStore."""
        await self._take(key, "release", holder)

    async def _take(self, key: str, step: str, *words: Word) -> object:
        value = name(f"{self._prefix}{key}}}")
        return await self._step(2, value, value + b":lease", step, *words)

    def __repr__(self) -> str:
        return f"RedisCacheStore({self._prefix[:-2]!r})"
