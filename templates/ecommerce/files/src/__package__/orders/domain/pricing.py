"""What an order costs: shipping, tax and discount, each worked out beside the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from operator import add

from .money import Money
from .order import Address, Item, Totals

#: Base fee and fee per unit by method, in the order's currency.
SHIPPING_RATES = {
    "standard": (Decimal("4.90"), Decimal("0.50")),
    "express": (Decimal("14.90"), Decimal("1.00")),
}
#: Standard shipping is on the house from here.
FREE_SHIPPING_FROM = Decimal("100.00")

#: Sales tax by country, and by state where that decides. Elsewhere the buyer pays at the border.
TAX_RATES = {
    "US": {"CA": Decimal("0.0725"), "NY": Decimal("0.04"), "TX": Decimal("0.0625")},
    "DE": {"": Decimal("0.19")},
    "FR": {"": Decimal("0.20")},
    "JP": {"": Decimal("0.10")},
}

Shares = Callable[[str], Awaitable[Decimal]]


@dataclass(frozen=True, slots=True)
class Quote:
    """What is asked to be priced."""

    items: Sequence[Item]
    address: Address
    shipping_method: str
    discount_code: str

    @property
    def subtotal(self) -> Money:
        """The sum of the lines."""
        return reduce(add, (item.total for item in self.items))


class Pricing:
    """Prices a quote; `shares` gives the share (0 to 1) that a discount code takes off.

    Shipping, tax and discount are worked out at once: each may have to ask somebody one day.
    """

    def __init__(self, shares: Shares) -> None:
        self._shares = shares

    async def totals(self, quote: Quote) -> Totals:
        """Work out all sums; raises what the discount look-up raises."""
        discount, shipping, rate = await asyncio.gather(
            self._discount(quote), self._shipping(quote), self._tax_rate(quote)
        )
        # Tax is due on what is paid for the goods.
        tax = (quote.subtotal - discount) * rate
        return Totals(quote.subtotal, discount, shipping, tax)

    async def _discount(self, quote: Quote) -> Money:
        return quote.subtotal * await self._shares(quote.discount_code)

    async def _shipping(self, quote: Quote) -> Money:
        base, each = SHIPPING_RATES[quote.shipping_method]
        subtotal = quote.subtotal
        if quote.shipping_method == "standard" and subtotal.amount >= FREE_SHIPPING_FROM:
            return Money.of(0, subtotal.currency)
        return Money.of(base + each * sum(i.quantity for i in quote.items), subtotal.currency)

    async def _tax_rate(self, quote: Quote) -> Decimal:
        states = TAX_RATES.get(quote.address.country, {})
        return states.get(quote.address.state, states.get("", Decimal(0)))
