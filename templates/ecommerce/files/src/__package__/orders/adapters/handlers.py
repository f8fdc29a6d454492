"""What orders make of the payments' events."""

from __future__ import annotations

from collections.abc import Callable

from prodkit.messaging.event import Event

from ..application.fulfilment import Fulfilment
from ..application.ports import Work
from ..domain.order import Order, PaymentStatus


class PaymentHandlers:
    """Handles what happened to payments; `changed` hears of each change.

    Of a refund it hears a moment before the commit: watchers look again by themselves.
    """

    def __init__(self, fulfilment: Fulfilment, changed: Callable[[Order], None]) -> None:
        self._fulfilment = fulfilment
        self._changed = changed

    async def failed(self, event: Event) -> None:
        """Take note that the customer has to try again; repeating it changes nothing."""
        await self._fulfilment.payment_stands(
            event.data["order_id"], PaymentStatus.FAILED, event.data["payment_id"]
        )

    async def refunded(self, event: Event, work: Work) -> None:
        """Take note that the money went back."""
        order = await self._fulfilment.refunded(work, event.data["order_id"])
        if order is not None:
            self._changed(order)
