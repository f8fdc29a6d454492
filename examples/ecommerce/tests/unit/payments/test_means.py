import pytest
from hypothesis import given, strategies as st
from prodkit.errors import InvalidArgumentError

from ecommerce.contract.payments.v1.payments_pb2 import (
    PaymentDetails,
)
from ecommerce.payments.means import REQUIRED, means_of, passes_luhn

CARD = {
    "card_number": "4111111111111111",
    "expiry_month": "12",
    "expiry_year": "2030",
    "cvv": "123",
}
numbers = st.text("0123456789", min_size=11, max_size=18)


def checked(number):
    """Return `number` with its check digit, worked out from the other side than `passes_luhn`."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return number + str(-total % 10)


@given(numbers)
def test_one_check_digit_in_ten_passes(number):
    passing = [digit for digit in "0123456789" if passes_luhn(number + digit)]
    assert [number + digit for digit in passing] == [checked(number)]


@given(numbers, st.data())
def test_one_wrong_digit_never_passes(number, data):
    card = checked(number)
    place = data.draw(st.integers(0, len(card) - 1))
    wrong = data.draw(st.sampled_from([d for d in "0123456789" if d != card[place]]))
    assert not passes_luhn(card[:place] + wrong + card[place + 1 :])


@given(numbers, st.data())
def test_neighbours_changed_over_do_not_pass_but_for_zero_and_nine(number, data):
    card = checked(number)
    place = data.draw(st.integers(0, len(card) - 2))
    first, second = card[place : place + 2]
    swapped = card[:place] + second + first + card[place + 2 :]
    assert passes_luhn(swapped) == (first == second or {first, second} == {"0", "9"})


def test_a_card_is_taken():
    means = means_of("credit_card", PaymentDetails(**CARD))
    assert (means.method, means.number, means.cvv) == ("credit_card", "4111111111111111", "123")


@pytest.mark.parametrize(
    ("method", "name"), [(method, name) for method, names in REQUIRED.items() for name in names]
)
def test_each_missing_detail_is_named(method, name):
    details = {**CARD, "wallet_id": "w-1", "iban": "DE02120300000000202051", name: ""}
    with pytest.raises(InvalidArgumentError) as caught:
        means_of(method, PaymentDetails(**details))
    [violation] = caught.value.violations
    assert (violation.field, violation.rule) == (f"/payment_details/{name}", "required")


def test_all_missing_details_are_named_at_once():
    with pytest.raises(InvalidArgumentError) as caught:
        means_of("credit_card", PaymentDetails())
    assert len(caught.value.violations) == 4


def test_a_wrong_check_digit_is_named_and_not_shown():
    with pytest.raises(InvalidArgumentError) as caught:
        means_of("credit_card", PaymentDetails(**CARD | {"card_number": "4111111111111112"}))
    [violation] = caught.value.violations
    assert (violation.field, violation.rule) == ("/payment_details/card_number", "luhn")
    assert "4111" not in str(caught.value) + violation.description


@pytest.mark.parametrize(
    ("method", "details", "number"),
    [("wallet", {"wallet_id": "w-1"}, "w-1"), ("bank_transfer", {"iban": "DE02"}, "DE02")],
)
def test_other_means_need_no_check_digit(method, details, number):
    assert means_of(method, PaymentDetails(**details)).number == number


def test_nothing_of_it_is_ever_shown():
    means = means_of("credit_card", PaymentDetails(**CARD))
    for said in (repr(means), str(means), f"{means}"):
        assert "4111" not in said
        assert "123" not in said
        assert "2030" not in said
