"""A discount to try in the demo."""

from __future__ import annotations

from prodkit.data.database import Database

from .tables import discounts


class DemoDiscounts:
    """Creates the code WELCOME10; built in the demo environment alone."""

    name = "demo discounts"

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self) -> None:
        """Create what is missing."""
        async with self._database.transaction() as tx:
            await tx.insert_new(discounts, {"code": "WELCOME10", "share": "0.10"})

    async def stop(self, grace: float) -> None:
        """Leave it."""
