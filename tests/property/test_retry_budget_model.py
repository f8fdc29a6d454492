"""The budget settles its accounts when somebody withdraws; the model does at every step."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from prodkit.policies._budget import RetryBudget

CALL, RETRY = "call", "retry"
steps = st.lists(
    st.tuples(st.sampled_from([CALL, CALL, RETRY, RETRY]), st.sampled_from([0, 0, 0.25, 1, 60])),
    max_size=200,
)


@given(
    steps=steps,
    ratio=st.sampled_from([0.0, 0.25, 0.5]),
    per_second=st.sampled_from([0.0, 0.5, 10.0]),
    capacity=st.sampled_from([1.0, 8.0, 100.0]),
)
def test_16_retries_never_exceed_what_calls_and_time_paid_in(steps, ratio, per_second, capacity):
    budget = RetryBudget(ratio, per_second, capacity=capacity)
    tokens = Fraction(min(per_second, capacity))
    now, begun, calls, retries = 0.0, None, 0, 0
    for step, seconds in steps:
        now += seconds
        earned = per_second * seconds if begun is not None else 0
        tokens = min(Fraction(capacity), tokens + Fraction(earned))
        if step is CALL:
            calls += 1
            budget.calls += 1
            tokens = min(Fraction(capacity), tokens + Fraction(ratio))
            continue
        begun = now if begun is None else begun
        expected = tokens >= 1
        assert budget.withdraw(now) is expected
        tokens -= expected
        retries += expected
        assert retries <= per_second * (1 + now - begun) + ratio * calls
