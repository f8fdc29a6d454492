"""Something to buy in the demo."""

from __future__ import annotations

from sqlalchemy import select

from . import products
from .stock import Units
from .tables import products as table

GOODS = (
    ("Premium Laptop", "High-performance laptop for professionals", "1299.99", "computers", 25),
    ("Mechanical Keyboard", "Tactile switches, aluminium case", "129.00", "computers", 120),
    ("Noise-cancelling Headphones", "Thirty hours on one charge", "249.50", "audio", 60),
    ("Espresso Machine", "Nine bars, one button", "399.00", "kitchen", 18),
    ("Chef's Knife", "Twenty centimetres of carbon steel", "89.90", "kitchen", 75),
    ("Desk Lamp", "Warm light, no flicker", "45.00", "office", 200),
)


class DemoProducts:
    """Fills an empty catalog; built in the demo environment alone."""

    name = "demo products"

    def __init__(self, units: Units) -> None:
        self._units = units

    async def start(self) -> None:
        """Put the goods on sale, unless something is."""
        async with self._units() as work:
            if (await work.execute(select(table.c.id).limit(1))).first() is not None:
                return
            for number, (name, description, price, category, stock) in enumerate(GOODS, 1):
                now = products.stamp()
                # Another process may be starting beside this one.
                await work.tx.insert_new(
                    table,
                    {
                        "id": f"product-{number}",
                        "name": name,
                        "description": description,
                        "price": price,
                        "currency": "USD",
                        "category": category,
                        "available": stock,
                        "reserved": 0,
                        "sold": 0,
                        "created_at": now,
                        "updated_at": now,
                    },
                )

    async def stop(self, grace: float) -> None:
        """Leave them."""
