import asyncio
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st
from prodkit.errors import InvalidArgumentError

from ecommerce.orders.domain.money import Money
from ecommerce.orders.domain.order import Address, Item
from ecommerce.orders.domain.pricing import TAX_RATES, Pricing, Quote

pytestmark = pytest.mark.anyio

prices = st.integers(1, 10**11).map(lambda n: Money(Decimal(n) / 100, "USD"))
items = st.builds(Item, st.just("p"), st.just("Thing"), st.integers(1, 1000), prices)
places = st.sampled_from(
    [("US", "CA"), ("US", "NY"), ("US", "OR"), ("DE", ""), ("DE", "Berlin"), ("FR", ""), ("AQ", "")]
)
shares = st.integers(0, 100).map(lambda n: Decimal(n) / 100)


def quote(*lines, country="US", state="OR", method="standard", code=""):
    lines = [Item("p", "Thing", quantity, Money.of(price, "USD")) for price, quantity in lines]
    return Quote(lines, Address("", "", state, "", country), method, code)


async def totals(quote, share=Decimal(0)):
    async def look_up(code):
        return share

    return await Pricing(look_up).totals(quote)


@given(
    st.lists(items, min_size=1, max_size=100),
    places,
    st.sampled_from(["standard", "express"]),
    shares,
)
def test_the_total_is_the_sum_of_its_parts_and_never_negative(lines, place, method, share):
    country, state = place
    asked = Quote(lines, Address("", "", state, "", country), method, "CODE")
    bill = asyncio.run(totals(asked, share))
    parts = bill.subtotal, bill.discount, bill.shipping, bill.tax, bill.total
    assert bill.total.amount == (
        bill.subtotal.amount - bill.discount.amount + bill.shipping.amount + bill.tax.amount
    )
    assert bill.subtotal.amount == sum(item.unit_price.amount * item.quantity for item in lines)
    assert all(part.amount >= 0 and part.currency == "USD" for part in parts)
    assert all(part.amount.as_tuple().exponent == -2 for part in parts)
    assert bill.discount.amount <= bill.subtotal.amount


@given(st.lists(items, min_size=1, max_size=10), shares, shares)
def test_a_larger_discount_never_costs_more(lines, one, other):
    asked = Quote(lines, Address("", "", "", "", "DE"), "standard", "CODE")
    small, large = sorted([one, other])
    assert (
        asyncio.run(totals(asked, large)).total.amount
        <= asyncio.run(totals(asked, small)).total.amount
    )


async def test_a_bill_by_hand():
    bill = await totals(quote(("12.50", 2), ("7.25", 1), state="CA"), Decimal("0.10"))
    said = [str(part) for part in (bill.subtotal, bill.discount, bill.shipping, bill.tax)]
    # 32.25 less 3.22 (3.225 goes to the even cent); 4.90 and three times 0.50; 7.25 % of 29.03.
    assert said == ["32.25", "3.22", "6.40", "2.10"]
    assert str(bill.total) == "37.53"


@pytest.mark.parametrize(
    ("price", "method", "shipping"),
    [
        ("99.99", "standard", "5.40"),
        ("100.00", "standard", "0.00"),
        ("100.00", "express", "15.90"),
    ],
)
async def test_standard_shipping_is_free_from_a_hundred(price, method, shipping):
    assert str((await totals(quote((price, 1), method=method))).shipping) == shipping


@pytest.mark.parametrize(
    ("country", "state", "tax"),
    [("US", "CA", "0.72"), ("US", "OR", "0.00"), ("DE", "", "1.90"), ("DE", "Bayern", "1.90")],
)
async def test_tax_is_where_the_parcel_goes(country, state, tax):
    assert country in TAX_RATES
    assert str((await totals(quote(("10.00", 1), country=country, state=state))).tax) == tax


async def test_elsewhere_there_is_no_tax():
    assert str((await totals(quote(("10.00", 1), country="AQ"))).tax) == "0.00"


async def test_what_the_look_up_raises_is_raised():
    async def unknown(code):
        raise InvalidArgumentError("no such code")

    with pytest.raises(InvalidArgumentError, match="no such code"):
        await Pricing(unknown).totals(quote(("1.00", 1), code="NO"))


def test_currencies_do_not_mix():
    lines = [Item("a", "A", 1, Money.of(1, "USD")), Item("b", "B", 1, Money.of(1, "EUR"))]
    with pytest.raises(ValueError, match="cannot combine"):
        _ = Quote(lines, Address("", "", "", "", "US"), "standard", "").subtotal
