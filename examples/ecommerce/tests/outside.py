"""Another service, as far as events go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prodkit.messaging.event import Event
from prodkit.transports.broker import Delivery, Message
from prodkit.transports.embedded import EmbeddedBroker

from ecommerce.settings import Settings

QUEUE = "outside"


class Outside:
    """Publishes events, and hears others."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker

    async def publish(self, event: Event) -> None:
        """Have it published."""
        message = Message(event.id, event.type, event.to_json(), key=event.subject)
        await self._broker.publish([message])

    async def hears(self, type_: str) -> None:
        """Listen to events of a type from now on."""
        await self._broker.declare(QUEUE, [type_])

    async def heard(self) -> Event:
        """Return the next event."""
        taken: list[Delivery] = []
        while not taken:
            taken = await self._broker.receive(QUEUE, 1, wait=10.0)
        await self._broker.ack(taken[0])
        return Event.from_json(taken[0].message.body)


@asynccontextmanager
async def outside(settings: Settings) -> AsyncIterator[Outside]:
    """Open the broker of a project that runs."""
    broker = EmbeddedBroker(settings.data_dir / "broker.db", name="outside")
    await broker.start()
    try:
        yield Outside(broker)
    finally:
        await broker.stop()
