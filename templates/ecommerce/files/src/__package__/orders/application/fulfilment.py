"""What happens to an order after it was placed: paid, shipped, delivered, cancelled, refunded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from prodkit.data.database import Database
from prodkit.errors import FailedPreconditionError, NotFoundError

from ..domain.order import HELD, Order, PaymentStatus, Status
from .events import order_event
from .ports import Catalog, Orders, Units, Work

Listener = Callable[[Order], None]


class Fulfilment:
    """Moves orders along; every move is one conditional update with its event.

    `on_change` hears of each change after its commit.
    """

    def __init__(
        self,
        *,
        database: Database,
        units: Units,
        orders: Orders,
        catalog: Catalog,
        now: Callable[[], datetime],
        on_change: Listener,
    ) -> None:
        self._database = database
        self._units = units
        self._orders = orders
        self._catalog = catalog
        self._now = now
        self._on_change = on_change

    async def get(self, order_id: str) -> Order:
        """Return one order; NotFoundError."""
        order = await self._orders.get(self._database.fetch, order_id)
        if order is None:
            raise NotFoundError(f"there is no order {order_id}", reason="ORDER_NOT_FOUND")
        return order

    async def hold(self, order_id: str, payment_id: str) -> Order:
        """Keep a pending order from expiring while `payment_id` is under way.

        Repeating it changes nothing. FailedPreconditionError means that the order can no longer be
        had; no money must be taken for it.
        """
        held = await self._orders.hold(self._database.execute, order_id, payment_id, self._now())
        if held is not None:
            self._on_change(held)
            return held
        order = await self.get(order_id)
        if order.payment_id == payment_id and order.payment_status in HELD:
            return order
        raise _stuck(order, Status.CONFIRMED)

    async def confirm(self, order_id: str, payment_id: str) -> Order:
        """Sell the stock of a paid order and confirm it.

        Repeating it for the same payment changes nothing. FailedPreconditionError means that the
        order can no longer be had, and that its money must go back. Whoever dies between the sale
        and the confirmation repeats both; a cancellation in between releases the sale by its event.
        """
        order = await self.get(order_id)
        if order.status is Status.PENDING:
            await self._catalog.commit(order_id)
            async with self._units() as work:
                moved = await self._move(
                    work,
                    order_id,
                    Status.CONFIRMED,
                    payment=PaymentStatus.PAID,
                    payment_id=payment_id,
                )
            if moved is not None:
                self._on_change(moved)
                return moved
            order = await self.get(order_id)
        if order.payment_id == payment_id and order.payment_status is PaymentStatus.PAID:
            return order
        raise _stuck(order, Status.CONFIRMED)

    async def ship(self, order_id: str) -> Order:
        """Hand a confirmed order to the carrier."""
        return await self._to(order_id, Status.SHIPPED)

    async def deliver(self, order_id: str) -> Order:
        """Record that a shipped order arrived."""
        return await self._to(order_id, Status.DELIVERED)

    async def cancel(self, order_id: str, reason: str) -> Order:
        """Cancel an order that has not been shipped; others release and refund by the event."""
        return await self._to(order_id, Status.CANCELLED, reason=reason)

    async def refunded(self, work: Work, order_id: str) -> Order | None:
        """Take note, in the consumer's unit of work, that the money went back.

        What has not been shipped is cancelled, so that its stock is released. Returns the order if
        that changed its state: one that was cancelled before only learns of its money.
        """
        for to in (Status.CANCELLED, Status.REFUNDED):
            order = await self._move(
                work, order_id, to, payment=PaymentStatus.REFUNDED, reason="refunded"
            )
            if order is not None:
                return order
        await self._orders.set_payment(
            work, order_id, PaymentStatus.REFUNDED, self._now(), while_in=Status.CANCELLED
        )
        return None

    async def payment_stands(
        self, order_id: str, payment: PaymentStatus, payment_id: str = ""
    ) -> Order | None:
        """Record how the payment of a pending order stands; None for any other order.

        What failed says nothing about the payment that came after it.
        """
        async with self._units() as work:
            order = await self._orders.set_payment(
                work, order_id, payment, self._now(), payment_id=payment_id
            )
        if order is not None:
            self._on_change(order)
        return order

    async def expire(self, after: timedelta, batch: int = 100) -> int:
        """Cancel pending orders that nobody paid for in time; return how many."""
        limit = self._now() - after
        due = await self._orders.unpaid_since(self._database.fetch, limit, batch)
        expired = 0
        for order_id in due:
            async with self._units() as work:
                # Whoever pays at this very moment keeps the order.
                order = await self._orders.lapse(work, order_id, self._now(), "not paid in time")
                if order is not None:
                    work.record(order_event("order.cancelled", order))
            if order is not None:
                expired += 1
                self._on_change(order)
        return expired

    async def _to(self, order_id: str, to: Status, reason: str | None = None) -> Order:
        async with self._units() as work:
            order = await self._move(work, order_id, to, reason=reason)
        if order is not None:
            self._on_change(order)
            return order
        order = await self.get(order_id)
        if order.status is to:
            return order
        raise _stuck(order, to)

    async def _move(
        self,
        work: Work,
        order_id: str,
        to: Status,
        *,
        payment: PaymentStatus | None = None,
        payment_id: str | None = None,
        reason: str | None = None,
    ) -> Order | None:
        order = await self._orders.move(
            work,
            order_id,
            to,
            self._now(),
            payment=payment,
            payment_id=payment_id,
            reason=reason,
        )
        if order is not None:
            work.record(order_event(f"order.{to.value}", order))
        return order


def _stuck(order: Order, to: Status) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"order {order.id} is {order.status.value} and cannot become {to.value}",
        reason="ORDER_STATE",
        metadata={"status": order.status.value},
    )
