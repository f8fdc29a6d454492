"""What the uses need of the world; the adapters provide it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol, TypeAlias

from prodkit.data.database import Transaction
from prodkit.data.unit_of_work import UnitOfWork, Work as GenericWork
from prodkit.messaging.event import Event

from ...asking import Ask, Tell
from ..domain.money import Money
from ..domain.order import Line, Order, PaymentStatus, Status

Work: TypeAlias = GenericWork[Event]
Units: TypeAlias = UnitOfWork[Event]


@dataclass(frozen=True, slots=True)
class Product:
    """What the catalog says of a product today."""

    id: str
    name: str
    price: Money


class Catalog(Protocol):
    """Products and their stock."""

    async def products(self, ids: Sequence[str]) -> Mapping[str, Product]:
        """Return the products of `ids` that exist, in one call."""

    async def reserve(self, order_id: str, lines: Sequence[Line]) -> None:
        """Hold all lines or none; FailedPreconditionError (OUT_OF_STOCK) where stock lacks."""

    async def commit(self, order_id: str) -> None:
        """Turn the reservation into a sale; FailedPreconditionError once it was released."""

    async def release(self, order_id: str) -> None:
        """Give back what the order holds; for good."""


class Accounts(Protocol):
    """Who may shop."""

    async def require_active(self, user_id: str) -> None:
        """Raise FailedPreconditionError unless the account exists and is active."""


@dataclass(frozen=True, slots=True)
class PaymentState:
    """Where an order's payment stands, in the words of the payments service."""

    id: str
    status: str
    message: str


@dataclass(frozen=True, slots=True)
class Bill:
    """What is to be paid for an order, and by whom; it never changes."""

    user_id: str
    amount: str
    currency: str


class Payments(Protocol):
    """Charging for orders."""

    async def pay(self, order_id: str, handle: str, bill: Bill | None) -> PaymentState:
        """Pay with a prepared means; repeating it is the same payment.

        Without `bill`, payments asks for it, and whether the order still waits.
        """


class Orders(Protocol):
    """The orders that are kept."""

    async def add(self, work: Work, order: Order) -> None:
        """Keep a new order."""

    async def get(self, ask: Ask, order_id: str) -> Order | None:
        """Return one order."""

    async def page(
        self, tx: Transaction, user_id: str, *, size: int, cursor: str
    ) -> tuple[list[Order], str]:
        """Return a page of a user's orders, newest first, and the cursor of the next."""

    async def move(
        self,
        work: Work,
        order_id: str,
        to: Status,
        now: datetime,
        *,
        payment: PaymentStatus | None = None,
        payment_id: str | None = None,
        reason: str | None = None,
    ) -> Order | None:
        """Change the state if the present one admits it; None where it does not."""

    async def set_payment(
        self,
        work: Work,
        order_id: str,
        payment: PaymentStatus,
        now: datetime,
        *,
        payment_id: str = "",
        while_in: Status = Status.PENDING,
    ) -> Order | None:
        """Record how the payment stands; None where the order is in another state."""

    async def hold(self, tell: Tell, order_id: str, payment_id: str, now: datetime) -> Order | None:
        """Record that a pending order is being paid; None where it is held so, or not pending."""

    async def unpaid_since(self, ask: Ask, limit: datetime, size: int) -> list[str]:
        """Return the ids of pending orders older than `limit` that no payment is under way for."""

    async def lapse(self, work: Work, order_id: str, now: datetime, reason: str) -> Order | None:
        """Cancel a pending order that no payment is under way for; None for any other."""


class Carts(Protocol):
    """What customers mean to buy."""

    async def lines(self, ask: Ask, user_id: str) -> list[Line]:
        """Return the cart, in the order in which things were put into it."""

    async def put(self, work: Work, user_id: str, line: Line) -> None:
        """Set a line's quantity; 0 takes it out."""

    async def take_out(self, work: Work, user_id: str, lines: Sequence[Line]) -> None:
        """Remove the lines that are still as they are in `lines`."""

    async def clear(self, work: Work, user_id: str) -> None:
        """Empty the cart."""


class Discounts(Protocol):
    """Discount codes."""

    async def share(self, code: str) -> Decimal:
        """Return the share (0 to 1) that `code` takes off; InvalidArgumentError if unknown."""
