"""Housekeeping: deletes what a service's tables need not keep any longer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from prodkit.clock import SYSTEM_CLOCK, Clock, seconds
from prodkit.data.database import Database, Transaction
from prodkit.data.tasks import Loop

#: Deletes a bounded number of rows and says how many; zero means done.
Purge: TypeAlias = Callable[[Transaction], Awaitable[int]]


class Housekeeping:
    """Runs purges (`outbox.purge`, `inbox.purge`) every `interval` seconds, from the start on.

    Each transaction is short, so that the writer is never held for long.
    """

    def __init__(
        self,
        database: Database,
        *purges: Purge,
        name: str = "housekeeping",
        interval: float = 600.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self._database = database
        self._purges = purges
        self._interval = seconds("interval", interval)
        self._loop = Loop(name, self._turn, clock=clock)

    async def start(self) -> None:
        """Start the first round."""
        self._loop.start()

    async def wait(self) -> None:
        """Return when stopped; raise what it died of."""
        await self._loop.wait()

    async def stop(self, grace: float) -> None:
        """Stop after the round under way, or in the middle of it."""
        await self._loop.stop(grace)

    async def _turn(self) -> float:
        for purge in self._purges:
            while await self._once(purge):
                pass
        return self._interval

    async def _once(self, purge: Purge) -> int:
        async with self._database.transaction() as tx:
            return await purge(tx)
