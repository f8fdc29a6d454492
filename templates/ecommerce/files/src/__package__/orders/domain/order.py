"""The order and its state machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from .money import Money


class Status(StrEnum):
    """Where an order stands."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


#: From where each state may be reached. Every change is an update conditional on this.
BEFORE: dict[Status, frozenset[Status]] = {
    Status.CONFIRMED: frozenset({Status.PENDING}),
    Status.SHIPPED: frozenset({Status.CONFIRMED}),
    Status.DELIVERED: frozenset({Status.SHIPPED}),
    Status.CANCELLED: frozenset({Status.PENDING, Status.CONFIRMED}),
    Status.REFUNDED: frozenset({Status.SHIPPED, Status.DELIVERED}),
}

#: States that end an order's course; all that can follow is the refund of what was delivered.
FINAL = frozenset({Status.DELIVERED, Status.CANCELLED, Status.REFUNDED})


class PaymentStatus(StrEnum):
    """What is known of the order's payment."""

    UNPAID = "unpaid"
    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"
    REFUNDED = "refunded"


#: Nobody is paying: what stays so for too long expires.
IDLE = frozenset({PaymentStatus.UNPAID, PaymentStatus.FAILED})
#: Somebody is paying, or has paid.
HELD = frozenset({PaymentStatus.PENDING, PaymentStatus.PAID})


@dataclass(frozen=True, slots=True)
class Line:
    """What the customer asks for."""

    product_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Item:
    """A line at the price of the day it was ordered."""

    product_id: str
    name: str
    quantity: int
    unit_price: Money

    @property
    def total(self) -> Money:
        """The price of the whole line."""
        return self.unit_price * self.quantity


@dataclass(frozen=True, slots=True)
class Address:
    """Where the parcel goes."""

    street: str
    city: str
    state: str
    zip: str
    country: str


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums on the bill; `total` is what is charged."""

    subtotal: Money
    discount: Money
    shipping: Money
    tax: Money

    @property
    def total(self) -> Money:
        """Subtotal less discount, plus shipping and tax."""
        return self.subtotal - self.discount + self.shipping + self.tax


@dataclass(frozen=True, slots=True)
class Order:
    """An order as it was agreed, and where it stands; `version` goes up by one at each change."""

    id: str
    user_id: str
    status: Status
    payment_status: PaymentStatus
    items: tuple[Item, ...]
    totals: Totals
    address: Address
    shipping_method: str
    created_at: datetime
    updated_at: datetime
    version: int = 1
    payment_id: str = ""
    reason: str = ""
