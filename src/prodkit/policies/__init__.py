"""Policies: each decides over a call, knows no door and imports no third-party package.

Each is in the module of its name: `CircuitBreaker` in `prodkit.policies.circuit_breaker`, with its
keyed and its shared form; `Deadline`, `Timeout`, `Retry`, `Hedge`, `AdaptiveThrottle`,
`RateLimiter`, `Bulkhead`, `LoadShedder`, `Fallback`, `Idempotency` and `Chaos` likewise. What
an option needs (a limiter's `Rate`, a retry's `RetryBudget`, the Protocol of a store) is beside it.
"""
