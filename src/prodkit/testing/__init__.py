"""What users and prodkit itself test with: a clock under the test's hand, a recorder of events.

And `check_...`: what a store must do, to run on one of your own; see `prodkit.testing.conformance`.
"""

from prodkit.testing.clock import ManualClock
from prodkit.testing.conformance import (
    check_breaker_store,
    check_cache,
    check_idempotency_store,
    check_rate_limit_store,
)
from prodkit.testing.faults import FaultProxy
from prodkit.testing.recorder import EventRecorder
from prodkit.testing.simulation import DeadlockError, Simulation, simulate

__all__ = [
    "DeadlockError",
    "EventRecorder",
    "FaultProxy",
    "ManualClock",
    "Simulation",
    "check_breaker_store",
    "check_cache",
    "check_idempotency_store",
    "check_rate_limit_store",
    "simulate",
]
