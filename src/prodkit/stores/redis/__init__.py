"""Stores that the processes of a fleet share, in Redis; all over one connection a process."""

from prodkit._extras import extra

with extra("redis", of=__name__):
    import hiredis  # noqa: F401

from prodkit.stores.redis.breaker import RedisBreakerStore
from prodkit.stores.redis.cache import RedisCacheStore
from prodkit.stores.redis.connection import RedisConnection
from prodkit.stores.redis.idempotency import RedisIdempotencyStore
from prodkit.stores.redis.lock import RedisLock
from prodkit.stores.redis.rate_limit import RedisRateLimitStore
from prodkit.stores.redis.replies import CommandError

__all__ = [
    "CommandError",
    "RedisBreakerStore",
    "RedisCacheStore",
    "RedisConnection",
    "RedisIdempotencyStore",
    "RedisLock",
    "RedisRateLimitStore",
]
