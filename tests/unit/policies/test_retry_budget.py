import pytest

from prodkit.policies.retry_budget import RetryBudget


def drain(budget, now=0.0):
    taken = 0
    while budget.withdraw(now):
        taken += 1
    return taken


def test_it_begins_with_a_seconds_worth():
    assert drain(RetryBudget(per_second=10)) == 10


def test_calls_pay_in_their_ratio():
    budget = RetryBudget(ratio=0.25, per_second=0)
    budget.calls += 40
    assert drain(budget) == 10


def test_time_pays_in_from_the_first_withdrawal_on():
    budget = RetryBudget(ratio=0, per_second=2)
    assert drain(budget, now=500.0) == 2
    assert drain(budget, now=503.0) == 6


def test_it_holds_no_more_than_its_capacity():
    budget = RetryBudget(ratio=1, per_second=10, capacity=5)
    assert drain(budget) == 5
    budget.calls += 1000
    assert drain(budget) == 5


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"ratio": -0.1}, "ratio must be 0 to 1"),
        ({"ratio": 1.1}, "ratio must be 0 to 1"),
        ({"per_second": -1}, "per_second must be a number of 0 or more"),
        ({"per_second": float("inf")}, "per_second must be a number of 0 or more"),
        ({"capacity": 0.5}, "capacity must be a number of at least 1"),
    ],
)
def test_an_option_out_of_range_is_named(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        RetryBudget(**options)
