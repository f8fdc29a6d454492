"""The events that orders tell the others."""

from __future__ import annotations

from prodkit.messaging.event import Event

from ..domain.order import Order


def order_event(happened: str, order: Order) -> Event:
    """Return the event of `happened` (`order.confirmed` say), with the order as it is now."""
    return Event(
        type=happened,
        subject=order.id,
        data={
            "order_id": order.id,
            "user_id": order.user_id,
            "status": order.status.value,
            "version": order.version,
            "total_amount": str(order.totals.total),
            "currency": order.totals.total.currency,
            "payment_id": order.payment_id,
            "reason": order.reason,
            "items": [
                {"product_id": item.product_id, "name": item.name, "quantity": item.quantity}
                for item in order.items
            ],
        },
    )
