import pytest

from prodkit import Call
from prodkit.policies._budget import KeyedRetryBudget, RetryBudget, checked_budget
from prodkit.testing import ManualClock


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


def test_nobody_paid_in_before_the_first_call():
    budget = RetryBudget(ratio=1, per_second=0)
    assert drain(budget) == 0
    budget.calls += 1000
    assert drain(budget) == 100  # the most that it holds


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
        ({"capacity": 0.5}, "capacity must be a number of 1 or more"),
    ],
)
def test_an_option_out_of_range_is_named(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        RetryBudget(**options)


def test_it_can_be_changed_and_keeps_what_it_saved():
    budget = RetryBudget(ratio=0.5, per_second=4)
    assert drain(budget) == 4
    budget.calls += 10
    budget.reconfigure(ratio=1.0)
    assert drain(budget) == 5  # those calls paid at the old ratio
    budget.calls += 10
    assert drain(budget) == 10
    budget.calls += 10
    budget.reconfigure(per_second=6, capacity=3)
    assert drain(budget) == 3


def test_the_least_that_is_allowed_is_taken():
    budget = RetryBudget(ratio=1, per_second=4)
    budget.reconfigure(ratio=0, per_second=0, capacity=1)
    budget.calls += 100
    assert drain(budget) == 1  # of what it had saved


@pytest.mark.parametrize("kind", [RetryBudget, KeyedRetryBudget])
@pytest.mark.parametrize("wrong", [{"ratio": True}, {"per_second": "1"}, {"capacity": 0}])
def test_a_wrong_change_changes_nothing(kind, wrong):
    budget = kind(ratio=0.5, per_second=4)
    before = repr(budget)
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be"):
        budget.reconfigure(**{"ratio": 0.1, "per_second": 1, **wrong})
    assert repr(budget) == before


def test_repr():
    assert repr(RetryBudget()) == "RetryBudget(0.2 of calls + 10/s)"
    assert repr(KeyedRetryBudget()) == "KeyedRetryBudget(0.2 of calls + 10/s, a target)"


class TestKeyed:
    def test_targets_have_a_budget_each(self):
        budgets = KeyedRetryBudget(per_second=3)
        first, second = budgets(Call("a")), budgets(Call("b"))
        assert budgets(Call("a")) is first
        assert (drain(first), drain(second)) == (3, 3)

    def test_the_target_may_be_anything_of_the_call(self):
        budgets = KeyedRetryBudget(key=lambda call: call.metadata["host"])
        north, south = Call("a", metadata={"host": "n"}), Call("a", metadata={"host": "s"})
        assert budgets(north) is not budgets(south)

    def test_many_targets_are_no_way_around_the_budget(self):
        clock = ManualClock()
        budgets = KeyedRetryBudget(ratio=0, per_second=2, max_keys=3, clock=clock)
        taken = sum(drain(budgets(Call(str(n))), clock.monotonic()) for n in range(100))
        assert taken == 2 * (3 + 1)

    @pytest.mark.anyio
    async def test_a_target_is_forgotten_once_a_new_budget_is_no_richer(self):
        clock = ManualClock()
        budgets = KeyedRetryBudget(ratio=0, per_second=2, max_keys=2, clock=clock)
        busy, idle = budgets(Call("busy")), budgets(Call("idle"))
        drain(busy, clock.monotonic())
        shared = budgets(Call("third"))
        assert shared not in (busy, idle)
        assert budgets(Call("third")) is not shared  # `idle` had withdrawn nothing: it made room
        assert budgets(Call("fourth")) is shared
        await clock.advance(1.0)
        budgets(Call("fourth"))
        assert budgets(Call("busy")) is busy  # "third" was in front of it
        budgets(Call("fifth"))
        assert budgets(Call("busy")) is not busy

    def test_a_change_reaches_targets_old_and_new(self):
        budgets = KeyedRetryBudget(per_second=1)
        old = budgets(Call("old"))
        budgets.reconfigure(per_second=5)
        assert (drain(budgets(Call("new"))), drain(old)) == (5, 1)
        assert drain(old, now=1.0) == 5

    @pytest.mark.parametrize(
        ("change", "begins", "paid", "holds"),
        [
            ({}, 4, 5, 50),
            ({"ratio": 1.0}, 4, 10, 50),
            ({"per_second": 6}, 6, 5, 50),
            ({"capacity": 20}, 4, 5, 20),
        ],
    )
    def test_a_change_is_of_what_is_given(self, change, begins, paid, holds):
        budgets = KeyedRetryBudget(ratio=0.5, per_second=4, capacity=50)
        budgets.reconfigure(**change)
        budget = budgets(Call("new"))
        assert drain(budget) == begins
        budget.calls += 10
        assert drain(budget) == paid
        budget.calls += 1000
        assert drain(budget) == holds

    def test_it_remembers_a_thousand_and_a_target_saves_a_hundred(self):
        clock, seen = ManualClock(), []
        budgets = KeyedRetryBudget(per_second=1, clock=clock)
        for n in range(1003):
            seen.append(budgets(Call(str(n))))
            drain(seen[-1], clock.monotonic())
        assert len(set(seen)) == 1000 + 1  # which the others share
        seen[0].calls += 10_000
        assert drain(seen[0], clock.monotonic()) == 100

    @pytest.mark.parametrize("max_keys", [0, True, float("nan"), "9"])
    def test_it_remembers_at_least_one(self, max_keys):
        with pytest.raises(ValueError, match="max_keys must be a whole number of at least 1"):
            KeyedRetryBudget(max_keys=max_keys)


@pytest.mark.parametrize("budget", [3, "none"])
def test_a_policy_takes_a_budget_or_a_function(budget):
    with pytest.raises(ValueError, match="budget must be a RetryBudget, a KeyedRetryBudget or a"):
        checked_budget(budget, RetryBudget())
