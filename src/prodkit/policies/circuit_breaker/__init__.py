"""Circuit breaker: stop calling what keeps failing, and find out carefully when it works again."""

from prodkit.policies.circuit_breaker.breaker import CircuitBreaker
from prodkit.policies.circuit_breaker.circuit import State
from prodkit.policies.circuit_breaker.events import (
    CallRejected,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitIsolated,
    CircuitOpened,
    CircuitReset,
)
from prodkit.policies.circuit_breaker.judgement import default_is_failure
from prodkit.policies.circuit_breaker.keyed import KeyedCircuitBreaker, by_host, by_operation
from prodkit.policies.circuit_breaker.options import Options
from prodkit.policies.circuit_breaker.shared import SharedCircuitBreaker
from prodkit.policies.circuit_breaker.store import BreakerStore, Outcome, Standing, Terms
from prodkit.policies.circuit_breaker.telling import BreakerStoreFailed

__all__ = [
    "BreakerStore",
    "BreakerStoreFailed",
    "CallRejected",
    "CircuitBreaker",
    "CircuitClosed",
    "CircuitHalfOpened",
    "CircuitIsolated",
    "CircuitOpened",
    "CircuitReset",
    "KeyedCircuitBreaker",
    "Options",
    "Outcome",
    "SharedCircuitBreaker",
    "Standing",
    "State",
    "Terms",
    "by_host",
    "by_operation",
    "default_is_failure",
]
