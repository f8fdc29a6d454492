from decimal import Decimal
from operator import add, lt, sub

import pytest
from hypothesis import given, strategies as st

from ecommerce.orders.domain.money import Money

cents = st.integers(-(10**11), 10**11).map(lambda n: Money(Decimal(n) / 100, "USD"))


@given(cents, cents, cents)
def test_sums_are_exact_in_any_sequence(a, b, c):
    assert (a + b) + c == a + (b + c) == c + a + b
    assert a + b - b == a


@given(cents, st.integers(0, 1000))
def test_a_multiple_is_the_repeated_sum(money, times):
    total = Money.of(0, "USD")
    for _ in range(times):
        total += money
    assert money * times == total


@given(st.decimals("-1e9", "1e9", places=6))
def test_rounding_is_to_two_places_and_off_by_half_a_cent_at_most(amount):
    money = Money.of(amount, "USD")
    assert money.amount.as_tuple().exponent == -2
    assert abs(money.amount - amount) <= Decimal("0.005")


@pytest.mark.parametrize(
    ("amount", "said"),
    [("0.005", "0.00"), ("0.015", "0.02"), ("0.025", "0.02"), ("2", "2.00"), ("-0.014", "-0.01")],
)
def test_rounds_half_to_even(amount, said):
    assert str(Money.of(amount, "USD")) == said


@pytest.mark.parametrize("combine", [add, sub])
def test_currencies_do_not_mix(combine):
    with pytest.raises(ValueError, match="USD with EUR"):
        combine(Money.of(1, "USD"), Money.of(1, "EUR"))


def test_amounts_of_different_currencies_are_not_compared():
    assert Money.of(1, "USD") != Money.of(1, "EUR")
    with pytest.raises(TypeError):
        lt(Money.of(1, "USD"), Money.of(2, "EUR"))
