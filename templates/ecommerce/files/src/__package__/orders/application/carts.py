"""The cart: lines that survive the browser, priced whenever they are looked at."""

from __future__ import annotations

from collections.abc import Sequence

from prodkit.data.database import Database
from prodkit.errors import FieldViolation, InvalidArgumentError

from ..domain.order import Item, Line
from .ports import Carts, Catalog, Units

#: As many lines as an order may have.
MOST_LINES = 100


class Cart:
    """What customers mean to buy."""

    def __init__(self, *, database: Database, units: Units, carts: Carts, catalog: Catalog) -> None:
        self._database = database
        self._units = units
        self._carts = carts
        self._catalog = catalog

    async def lines(self, user_id: str) -> list[Line]:
        """Return the bare lines."""
        return await self._carts.lines(self._database.fetch, user_id)

    async def priced(self, user_id: str) -> list[Item]:
        """Return the cart at today's prices; what left the catalog is left out."""
        lines = await self.lines(user_id)
        if not lines:
            return []
        products = await self._catalog.products([line.product_id for line in lines])
        return [
            Item(line.product_id, product.name, line.quantity, product.price)
            for line in lines
            if (product := products.get(line.product_id)) is not None
        ]

    async def put(self, user_id: str, line: Line) -> None:
        """Set a line's quantity, 0 to take it out.

        InvalidArgumentError for no such product, and for a cart that is full.
        """
        if line.quantity and not await self._catalog.products([line.product_id]):
            violation = FieldViolation("/product_id", "no such product", "exists")
            raise InvalidArgumentError(
                "there is no such product", reason="UNKNOWN_PRODUCT", violations=[violation]
            )
        async with self._units() as work:
            await self._carts.put(work, user_id, line)
            if len(await self._carts.lines(work.execute, user_id)) > MOST_LINES:
                full = FieldViolation("/product_id", "the cart is full", "max_items")
                raise InvalidArgumentError(
                    f"a cart has {MOST_LINES} lines at most", reason="CART_FULL", violations=[full]
                )

    async def take_out(self, user_id: str, items: Sequence[Item]) -> None:
        """Remove what was ordered; what was put in or changed meanwhile stays."""
        lines = [Line(item.product_id, item.quantity) for item in items]
        # Several rows in no set order, here and below: two of these can be in each other's way.
        await self._units.run(lambda work: self._carts.take_out(work, user_id, lines))

    async def clear(self, user_id: str) -> None:
        """Empty the cart."""
        await self._units.run(lambda work: self._carts.clear(work, user_id))
