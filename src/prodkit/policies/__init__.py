"""Policies: each decides over a call, knows no door and imports no third-party package.

`Deadline`, `Timeout`, `Retry`, `CircuitBreaker`, `RateLimiter` and `Idempotency` are each in the
module of their name: `prodkit.policies.circuit_breaker`. A limiter's `Rate` and keys are beside it.
"""
