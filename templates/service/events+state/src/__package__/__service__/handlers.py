"""What the service makes of events."""

from __future__ import annotations

from prodkit.messaging.event import Event

from . import items
from .items import Work


async def requested(event: Event, work: Work) -> None:
    """Make the item that somebody asked for; what `work` writes commits with it, once per event."""
    await items.add(work, str(event.data["name"])[: items.LONGEST_NAME])
