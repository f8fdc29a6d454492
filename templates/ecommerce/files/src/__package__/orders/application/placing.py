"""Placing an order: check who and what, price it, hold the stock, keep it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from prodkit.data.database import Database
from prodkit.errors import FieldViolation, InvalidArgumentError, PermissionDeniedError

from ..domain.order import Address, Item, Line, Order, PaymentStatus, Status
from ..domain.pricing import Pricing, Quote
from .events import order_event
from .ports import Accounts, Catalog, Orders, Product, Units, Work

#: Ends the unit of work that keeps the order: completes an idempotency claim, starts a saga.
Ending = Callable[[Work, Order], Awaitable[None]]
#: How much of one product an order may hold; the catalog reserves no more.
MOST_OF_ONE = 1000


@dataclass(frozen=True, slots=True)
class Wish:
    """What a customer asks for."""

    order_id: str
    user_id: str
    lines: Sequence[Line]
    address: Address
    shipping_method: str = "standard"
    discount_code: str = ""


class Placing:
    """Turns a wish into a pending order."""

    def __init__(
        self,
        *,
        database: Database,
        units: Units,
        orders: Orders,
        catalog: Catalog,
        accounts: Accounts,
        pricing: Pricing,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._units = units
        self._orders = orders
        self._catalog = catalog
        self._accounts = accounts
        self._pricing = pricing
        self._now = now

    async def find(self, wish: Wish) -> Order | None:
        """Return the order that this wish became already, on an earlier run under its key."""
        return await self._orders.get(self._database.fetch, wish.order_id)

    async def draft(self, wish: Wish) -> Order:
        """Price the wish without keeping anything.

        Raises InvalidArgumentError that names the line for what cannot be ordered.
        """
        await self._accounts.require_active(wish.user_id)
        lines = merged(wish.lines)
        if not lines:
            empty = FieldViolation("/items", "must name something: the cart is empty", "min_items")
            raise InvalidArgumentError("there is nothing to order", violations=[empty])
        products = await self._catalog.products([line.product_id for line in lines])
        items = _items(wish.lines, lines, products)
        _within_bounds(wish.lines, lines)
        quote = Quote(items, wish.address, wish.shipping_method, wish.discount_code)
        now = self._now()
        return Order(
            id=wish.order_id,
            user_id=wish.user_id,
            status=Status.PENDING,
            payment_status=PaymentStatus.UNPAID,
            items=items,
            totals=await self._pricing.totals(quote),
            address=wish.address,
            shipping_method=wish.shipping_method,
            created_at=now,
            updated_at=now,
        )

    async def place(self, wish: Wish, ending: Ending) -> Order:
        """Reserve the stock, then keep the order.

        Whoever dies in between leaves a reservation that expires by itself.
        """
        order = await self.draft(wish)
        await self._catalog.reserve(order.id, merged(wish.lines))
        await self.keep(order, ending)
        return order

    async def keep(self, order: Order, ending: Ending) -> None:
        """Write the order, its event and whatever `ending` adds, in one transaction."""
        async with self._units() as work:
            await self._orders.add(work, order)
            work.record(order_event("order.placed", order))
            await ending(work, order)


def owner(asked: str, caller: str, *, may_order_for_others: bool) -> str:
    """Return whose order it will be; PermissionDeniedError for somebody else's."""
    if asked and asked != caller and not may_order_for_others:
        raise PermissionDeniedError("user_id is not the caller", reason="FOREIGN_USER")
    return asked or caller


def merged(lines: Sequence[Line]) -> list[Line]:
    """Return one line a product, sorted by product, so that orders take stock in one sequence."""
    quantities: dict[str, int] = {}
    for line in lines:
        quantities[line.product_id] = quantities.get(line.product_id, 0) + line.quantity
    return [Line(product, quantity) for product, quantity in sorted(quantities.items())]


def _within_bounds(asked: Sequence[Line], lines: Sequence[Line]) -> None:
    too_much = {line.product_id for line in lines if line.quantity > MOST_OF_ONE}
    violations = [
        FieldViolation(f"/items/{index}/quantity", f"at most {MOST_OF_ONE} of a product", "lte")
        for index, line in enumerate(asked)
        if line.product_id in too_much
    ]
    if violations:
        raise InvalidArgumentError("the order asks for too much", violations=violations)


def _items(
    asked: Sequence[Line], lines: Sequence[Line], known: Mapping[str, Product]
) -> tuple[Item, ...]:
    violations = [
        FieldViolation(f"/items/{index}/product_id", "no such product", "exists")
        for index, line in enumerate(asked)
        if line.product_id not in known
    ]
    if violations:
        raise InvalidArgumentError(
            "the order names unknown products", reason="UNKNOWN_PRODUCT", violations=violations
        )
    currencies = {known[line.product_id].price.currency for line in lines}
    if len(currencies) > 1:
        violation = FieldViolation("/items", f"mixed currencies: {', '.join(sorted(currencies))}")
        raise InvalidArgumentError(
            "an order is in one currency", reason="MIXED_CURRENCIES", violations=[violation]
        )
    return tuple(
        Item(
            line.product_id,
            known[line.product_id].name,
            line.quantity,
            known[line.product_id].price,
        )
        for line in lines
    )
