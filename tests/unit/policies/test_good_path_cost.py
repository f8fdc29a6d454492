"""What a call that goes well pays for its policies, in Python calls: exact on every machine."""

import sys

import pytest

from prodkit import Call, Code, Pipeline
from prodkit.policies.chaos import Chaos
from prodkit.policies.circuit_breaker import CircuitBreaker
from prodkit.policies.fallback import Fallback
from prodkit.policies.rate_limiter import Rate, RateLimiter
from prodkit.policies.retry import Retry


async def leaf(call):
    return call


async def python_calls(handler):
    counted = 0

    def profile(_frame, event, _argument):
        nonlocal counted
        counted += event == "call"

    call = Call("op")
    sys.setprofile(profile)
    try:
        await handler(call)
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("policy", "budget"),
    [
        (Retry(on=Code.UNAVAILABLE), 2),  # the link and the policy
        (CircuitBreaker("a", consecutive_failures=5), 4),  # and the circuit and its window
        (CircuitBreaker("b"), 4),
        (Fallback(lambda call, error: None, on=Code.UNAVAILABLE), 2),
        (Chaos(environment="test"), 2),
        (RateLimiter(Rate(1000, per=3600), key=lambda call: "key"), 4),  # and key and store
    ],
    ids=["retry", "breaker, count", "breaker, ratio", "fallback", "chaos without rates", "limiter"],
)
async def test_a_good_call_pays_no_more_than(policy, budget):
    handler = Pipeline(policy).bind(leaf)
    await handler(Call("op"))  # the first call of a window turns its ring
    assert await python_calls(handler) - await python_calls(leaf) <= budget
