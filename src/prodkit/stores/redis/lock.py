"""A lock that ends by itself, with a token by which those who outlived it are known."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from prodkit.clock import seconds
from prodkit.stores.redis.command import milliseconds, name
from prodkit.stores.redis.connection import RedisConnection
from prodkit.stores.redis.script import Script

#: Seconds beyond its lease for which the last token is known: how far the clock may be set back.
_MEMORY = 7 * 86_400.0


class RedisLock:
    """Locks by name, each held by one at a time for a lease, with a fencing token.

    No lock over a network is enough by itself: a holder that is paused (a garbage collection, a
    suspended machine) outlives its lease and does not know. So each `acquire` returns a token
    that is higher than all before it, and what the lock protects must refuse a lower one than it
    has seen: `UPDATE ... SET ..., fence = :token WHERE id = :id AND fence <= :token`. Where that is
    done nothing stale is ever written; where it is not, the lock saves work and no more.

    Tokens grow by Redis's clock, and by one at least. Nothing but a clock set back together with
    the loss of all data (or by more than a week) can give a lower one; two may hold the lock after
    Redis forgot it, the later one with the higher token. An `acquire` that raised may have been
    granted: the lock is free again when its lease ends.
    """

    __slots__ = ("_prefix", "_step")

    def __init__(self, redis: RedisConnection, *, prefix: str = "prodkit:lock") -> None:
        self._prefix = f"{prefix}:{{"
        self._step = Script(redis, "lock")

    async def acquire(self, name: str, lease: float | timedelta) -> int | None:
        """Take the lock for `lease` seconds; return the token, or None while somebody has it.

        Raises UnavailableError, as all methods do while Redis is away.
        """
        length = seconds("lease", lease)
        memory = milliseconds(length + _MEMORY)
        return cast("int | None", await self._take(name, "acquire", milliseconds(length), memory))

    async def renew(self, name: str, token: int, lease: float | timedelta) -> bool:
        """Hold the lock for `lease` seconds from now; False if `token` holds it no more."""
        length = milliseconds(seconds("lease", lease))
        return await self._take(name, "renew", length, token) == 1

    async def release(self, name: str, token: int) -> bool:
        """Let the lock go; False if `token` held it no more."""
        return await self._take(name, "release", 0, token) == 1

    async def _take(self, lock: str, step: str, lease: int, word: int) -> object:
        key = name(f"{self._prefix}{lock}}}")
        return await self._step(2, key, key + b":last", step, lease, word)

    def __repr__(self) -> str:
        return f"RedisLock({self._prefix[:-2]!r})"
