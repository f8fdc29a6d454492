"""An order as a row: its state in columns, what was agreed in one document."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping

from ..domain.money import Money
from ..domain.order import Address, Item, Order, PaymentStatus, Status, Totals


def row_of(order: Order) -> dict[str, Any]:
    """Return the row of an order."""
    totals = order.totals
    return {
        "id": order.id,
        "user_id": order.user_id,
        "status": order.status.value,
        "payment_status": order.payment_status.value,
        "payment_id": order.payment_id,
        "reason": order.reason,
        "version": order.version,
        "created_at": order.created_at.isoformat(),
        "updated_at": order.updated_at.isoformat(),
        "agreed": {
            "currency": totals.total.currency,
            "subtotal": str(totals.subtotal),
            "discount": str(totals.discount),
            "shipping": str(totals.shipping),
            "tax": str(totals.tax),
            "shipping_method": order.shipping_method,
            "address": asdict(order.address),
            "items": [
                {
                    "product_id": item.product_id,
                    "name": item.name,
                    "quantity": item.quantity,
                    "unit_price": str(item.unit_price),
                }
                for item in order.items
            ],
        },
    }


def order_of(row: RowMapping) -> Order:
    """Return the order of a row."""
    agreed = row["agreed"]
    currency = agreed["currency"]

    def money(amount: str) -> Money:
        return Money.of(amount, currency)

    return Order(
        id=row["id"],
        user_id=row["user_id"],
        status=Status(row["status"]),
        payment_status=PaymentStatus(row["payment_status"]),
        payment_id=row["payment_id"],
        reason=row["reason"],
        version=row["version"],
        created_at=datetime.fromisoformat(row["created_at"]),
        updated_at=datetime.fromisoformat(row["updated_at"]),
        shipping_method=agreed["shipping_method"],
        address=Address(**agreed["address"]),
        totals=Totals(
            *(money(agreed[name]) for name in ("subtotal", "discount", "shipping", "tax"))
        ),
        items=tuple(
            Item(i["product_id"], i["name"], i["quantity"], money(i["unit_price"]))
            for i in agreed["items"]
        ),
    )
