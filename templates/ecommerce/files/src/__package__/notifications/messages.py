"""What is said about which event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Data: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Text:
    """A subject line and a body."""

    subject: str
    body: str


def _welcome(data: Data) -> Text:
    return Text("Welcome", "your account is ready. Happy shopping!")


def _confirmed(data: Data) -> Text:
    lines = "\n".join(f"  {item['quantity']} x {item['name']}" for item in data["items"])
    return Text(
        f"Your order {data['order_id']} is confirmed",
        f"thank you for your order.\n\n{lines}\n\nTotal: {data['total_amount']} {data['currency']}",
    )


def _shipped(data: Data) -> Text:
    return Text(f"Your order {data['order_id']} is on its way", "your parcel has left us.")


def _delivered(data: Data) -> Text:
    return Text(f"Your order {data['order_id']} has arrived", "we hope that you like it.")


def _cancelled(data: Data) -> Text:
    why = f" ({data['reason']})" if data.get("reason") else ""
    return Text(
        f"Your order {data['order_id']} was cancelled",
        f"your order was cancelled{why}. Whatever you paid for it comes back to you.",
    )


def _refunded(data: Data) -> Text:
    return Text(
        f"Your money for order {data['order_id']} is on its way back",
        f"we have returned {data['amount']} {data['currency']} to you.",
    )


def _failed(data: Data) -> Text:
    return Text(
        f"Your payment for order {data['order_id']} did not go through",
        "nothing was charged. You can pay by another means while your order is held.",
    )


TEXTS: Mapping[str, Callable[[Data], Text]] = {
    "user.registered": _welcome,
    "order.confirmed": _confirmed,
    "order.shipped": _shipped,
    "order.delivered": _delivered,
    "order.cancelled": _cancelled,
    "payment.refunded": _refunded,
    "payment.failed": _failed,
}


def text_for(event_type: str, name: str, data: Data) -> Text:
    """Return what to tell somebody called `name` about an event."""
    text = TEXTS[event_type](data)
    return Text(text.subject, f"Hello {name},\n\n{text.body}\n")
