"""Stores that live and die with one process."""

from prodkit.policies.rate_limiter import MemoryRateLimitStore
from prodkit.stores.memory.breaker import MemoryBreakerStore
from prodkit.stores.memory.cache import MemoryCacheStore
from prodkit.stores.memory.idempotency import MemoryIdempotencyStore

__all__ = [
    "MemoryBreakerStore",
    "MemoryCacheStore",
    "MemoryIdempotencyStore",
    "MemoryRateLimitStore",
]
