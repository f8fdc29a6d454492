"""What the review says of our own policies where one waits for what another never lets be."""

import pytest

from prodkit import Pipeline
from prodkit.policies.circuit_breaker import (
    CircuitBreaker,
    KeyedCircuitBreaker,
    SharedCircuitBreaker,
)
from prodkit.policies.hedge import Hedge
from prodkit.policies.timeout import Timeout
from prodkit.stores.memory import MemoryBreakerStore

SLOW = {
    "CircuitBreaker": lambda slow: CircuitBreaker("db", slow_call_duration=slow),
    "KeyedCircuitBreaker": lambda slow: KeyedCircuitBreaker("db", key=str, slow_call_duration=slow),
    "SharedCircuitBreaker": lambda slow: SharedCircuitBreaker(
        "db", MemoryBreakerStore(), slow_call_duration=slow
    ),
    "Hedge": lambda slow: Hedge(delay=slow),
}


@pytest.mark.parametrize("name", SLOW)
def test_slow_calls_are_looked_for_within_the_timeout(name):
    doubts = Pipeline(SLOW[name](2.0), Timeout(1.0)).check()
    assert [str(doubt) for doubt in doubts] == [
        f"{name} looks for calls of 2 s or more, and all end after 1 s"
    ]
    assert Pipeline(SLOW[name](0.5), Timeout(1.0)).check() == []


def test_a_breaker_that_times_nothing_looks_for_no_slow_calls():
    assert Pipeline(CircuitBreaker("db"), Timeout(1.0)).check() == []
