"""That the stores in Redis are what the policies ask for; checked by mypy, never run."""

from __future__ import annotations

from prodkit.data.cache import CacheStore
from prodkit.policies.circuit_breaker import SharedCircuitBreaker
from prodkit.policies.circuit_breaker.store import BreakerStore
from prodkit.policies.idempotency import Idempotency, IdempotencyStore
from prodkit.policies.rate_limiter import Rate, RateLimiter, RateLimitStore
from prodkit.service.component import Component
from prodkit.service.health import Check
from prodkit.stores.redis import (
    RedisBreakerStore,
    RedisCacheStore,
    RedisConnection,
    RedisIdempotencyStore,
    RedisRateLimitStore,
)

redis = RedisConnection("redis://localhost")
component: Component = redis
check = Check("redis", redis.ping)
limits: RateLimitStore = RedisRateLimitStore(redis)
keys: IdempotencyStore = RedisIdempotencyStore(redis)
circuits: BreakerStore = RedisBreakerStore(redis)
values: CacheStore = RedisCacheStore(redis)
RateLimiter(Rate(10), store=limits)
Idempotency(keys, secret=b"s" * 32)
SharedCircuitBreaker("db", circuits)
