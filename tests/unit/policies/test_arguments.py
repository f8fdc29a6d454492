"""Names, stores and keys that cannot work are refused where they are given, by name."""

import time
from functools import partial

import pytest

from prodkit import Call, Pipeline
from prodkit.errors import ConfigurationError
from prodkit.policies.adaptive_throttle import AdaptiveThrottle
from prodkit.policies.bulkhead import Bulkhead
from prodkit.policies.chaos import Chaos
from prodkit.policies.circuit_breaker import (
    CircuitBreaker,
    KeyedCircuitBreaker,
    SharedCircuitBreaker,
)
from prodkit.policies.deadline import Deadline
from prodkit.policies.fallback import Fallback
from prodkit.policies.hedge import Hedge
from prodkit.policies.idempotency import Idempotency
from prodkit.policies.load_shedder import LoadShedder
from prodkit.policies.rate_limiter import LeasedRateLimitStore, Rate, RateLimiter
from prodkit.policies.retry import KeyedRetryBudget, Retry
from prodkit.policies.timeout import Timeout
from prodkit.stores.memory import MemoryBreakerStore, MemoryIdempotencyStore, MemoryRateLimitStore
from prodkit.testing import ManualClock

NAMED = {
    "breaker": CircuitBreaker,
    "keyed breaker": lambda name: KeyedCircuitBreaker(name, key=str),
    "shared breaker": lambda name: SharedCircuitBreaker(name, MemoryBreakerStore()),
    "bulkhead": lambda name: Bulkhead(name, limit=1),
    "throttle": AdaptiveThrottle,
    "fallback": lambda name: Fallback(lambda call, error: None, on=ValueError, name=name),
}
STORED = {
    "BreakerStore": (lambda store: SharedCircuitBreaker("c", store), MemoryBreakerStore),
    "IdempotencyStore": (
        lambda store: Idempotency(store, secret=b"0" * 16),
        MemoryIdempotencyStore,
    ),
    "RateLimitStore": (lambda store: RateLimiter(Rate(1), store=store), MemoryRateLimitStore),
    "RateLimitStore, an object with take, give_back": (LeasedRateLimitStore, MemoryRateLimitStore),
}


@pytest.mark.parametrize("make", NAMED.values(), ids=NAMED)
@pytest.mark.parametrize("wrong", [5, None, " ", b"db"])
def test_a_name_is_a_str_that_is_not_empty(make, wrong):
    with pytest.raises(ConfigurationError, match="name must be a str that is not empty, not "):
        make(wrong)


@pytest.mark.parametrize("which", [name for name in NAMED if name != "fallback"])
def test_only_a_fallback_needs_none(which):
    with pytest.raises(ConfigurationError, match="name must be a str that is not empty, not ''"):
        NAMED[which]("")
    assert NAMED["fallback"]("").name == ""


@pytest.mark.parametrize("protocol", STORED)
def test_a_store_has_the_methods_of_its_protocol(protocol):
    make, right = STORED[protocol]
    for wrong in ({}, 5, "redis://", right):
        with pytest.raises(ConfigurationError, match=f"must be an? {protocol}"):
            make(wrong)
    make(right())


@pytest.mark.anyio
@pytest.mark.parametrize("wrong", [None, 5, b"host"])
@pytest.mark.parametrize(
    "make",
    [
        lambda key: KeyedCircuitBreaker("db", key=key),
        lambda key: Bulkhead("db", limit=1, key=key),
    ],
    ids=["breaker", "bulkhead"],
)
async def test_a_key_is_a_str(make, wrong):
    async def leaf(call):
        raise AssertionError("it ran")

    with pytest.raises(ConfigurationError, match=f" db: key must return a str, not {wrong!r}"):
        await Pipeline(make(lambda call: wrong)).bind(leaf)(Call("op"))


TIMED = {
    "breaker": lambda clock: CircuitBreaker("db", clock=clock),
    "keyed breaker": lambda clock: KeyedCircuitBreaker("db", key=str, clock=clock),
    "shared breaker": lambda clock: SharedCircuitBreaker("db", MemoryBreakerStore(), clock=clock),
    "bulkhead": lambda clock: Bulkhead("db", limit=1, clock=clock),
    "throttle": lambda clock: AdaptiveThrottle("db", clock=clock),
    "budget": lambda clock: KeyedRetryBudget(clock=clock),
    "chaos": lambda clock: Chaos(environment="test", clock=clock),
    "deadline": lambda clock: Deadline(1.0, clock=clock),
    "hedge": lambda clock: Hedge(clock=clock),
    "idempotency": lambda clock: Idempotency(
        MemoryIdempotencyStore(), secret=b"0" * 16, clock=clock
    ),
    "limiter": lambda clock: RateLimiter(Rate(1), clock=clock),
    "retry": lambda clock: Retry(on=OSError, clock=clock),
    "shedder": lambda clock: LoadShedder(clock=clock),
    "timeout": lambda clock: Timeout(1.0, clock=clock),
}


@pytest.mark.parametrize("make", TIMED.values(), ids=TIMED)
@pytest.mark.parametrize("wrong", [None, 5, time, ManualClock], ids=repr)
def test_a_clock_has_the_methods_of_a_clock(make, wrong):
    with pytest.raises(ConfigurationError, match="clock must be a Clock, an object with monotonic"):
        make(wrong)
    make(ManualClock())


@pytest.mark.parametrize(
    "make",
    [
        partial(AdaptiveThrottle, "db"),
        partial(Chaos, environment="test"),
        partial(Retry, on=OSError),
    ],
    ids=["throttle", "chaos", "retry"],
)
def test_randomness_is_a_function(make):
    async def later():
        return 0.5

    for wrong in (None, 0.5, later):
        with pytest.raises(ConfigurationError, match="random must be a plain function, not "):
            make(random=wrong)


@pytest.mark.parametrize("option", ["match", "enabled"])
def test_what_chaos_asks_answers_at_once(option):
    async def later(*_):
        return False

    with pytest.raises(ConfigurationError, match=f"{option} must be a plain function, not "):
        Chaos(environment="test", **{option: later})


@pytest.mark.parametrize("option", ["key", "cost"])
def test_a_limiters_functions_answer_at_once(option):
    async def later(call):
        return 1

    with pytest.raises(ConfigurationError, match=f"{option} must be a plain function"):
        RateLimiter(Rate(1), **{option: later})
