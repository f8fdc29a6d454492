"""Idempotency keys of a fleet, where losing Redis may run a request a second time."""

from __future__ import annotations

from typing import ClassVar, cast

from prodkit.policies.claim import Record, Terms
from prodkit.stores.redis.command import milliseconds, name
from prodkit.stores.redis.connection import RedisConnection
from prodkit.stores.redis.script import Script


class RedisIdempotencyStore:
    """An IdempotencyStore in Redis: at most one execution at a time, while Redis keeps its data.

    Not for money: what a handler does and what is kept here are not one transaction. A crash
    between them runs the request again, and so does a Redis that forgot (FLUSHALL, a restart
    without persistence, a fail-over to a replica that lags, eviction: use `noeviction`). While
    Redis is away nothing runs: the claim fails with UnavailableError first. A claim whose answer
    did not arrive may have been made; then the key is in use until its lease ends.

    Leases and retention are counted by Redis's clock.
    """

    transactional: ClassVar[bool] = False
    __slots__ = ("_prefix", "_step")

    def __init__(self, redis: RedisConnection, *, prefix: str = "prodkit:idempotency") -> None:
        self._prefix = f"{prefix}:"
        self._step = Script(redis, "idempotency")

    async def claim(
        self, key: str, fingerprint: bytes, fence: str, *, now: float, terms: Terms
    ) -> Record | None:
        """Claim `key` if it is free; see IdempotencyStore."""
        found = await self._take(key, "claim", fence, terms, fingerprint)
        if found is None:
            return None
        return Record(*cast("list[bytes]", found))

    async def extend(self, key: str, fence: str, *, now: float, terms: Terms) -> bool:
        """Renew the lease if `fence` still holds it; see IdempotencyStore."""
        return await self._take(key, "extend", fence, terms) == 1

    async def complete(
        self, key: str, fence: str, result: bytes, *, now: float, terms: Terms, tx: object = None
    ) -> bool:
        """Keep `result` if `fence` still holds the key; see IdempotencyStore."""
        if tx is not None:
            raise TypeError("RedisIdempotencyStore cannot take part in a transaction")
        return await self._take(key, "complete", fence, terms, result) == 1

    async def release(self, key: str, fence: str) -> None:
        """Make a running key free; see IdempotencyStore."""
        await self._step(1, self._name(key), "release", fence)

    async def _take(self, key: str, step: str, fence: str, terms: Terms, *words: bytes) -> object:
        lease, retention = milliseconds(terms.lease), milliseconds(terms.retention)
        return await self._step(1, self._name(key), step, fence, lease, retention, *words)

    def _name(self, key: str) -> bytes:
        return name(self._prefix + key)

    def __repr__(self) -> str:
        return f"RedisIdempotencyStore({self._prefix[:-1]!r})"
