"""Rate limiter: no caller gets more than its share."""

from prodkit.policies.rate_limiter.events import RateDelayed, RateExceeded, RateStoreFailed
from prodkit.policies.rate_limiter.gcra import Rate
from prodkit.policies.rate_limiter.keys import by_caller, by_client, by_principal
from prodkit.policies.rate_limiter.lease import LeasedRateLimitStore
from prodkit.policies.rate_limiter.memory import MemoryRateLimitStore
from prodkit.policies.rate_limiter.policy import RateLimiter
from prodkit.policies.rate_limiter.sliding_log import SlidingLog
from prodkit.policies.rate_limiter.store import Answer, Limit, Limits, RateLimitStore

__all__ = [
    "Answer",
    "LeasedRateLimitStore",
    "Limit",
    "Limits",
    "MemoryRateLimitStore",
    "Rate",
    "RateDelayed",
    "RateExceeded",
    "RateLimitStore",
    "RateLimiter",
    "RateStoreFailed",
    "SlidingLog",
    "by_caller",
    "by_client",
    "by_principal",
]
