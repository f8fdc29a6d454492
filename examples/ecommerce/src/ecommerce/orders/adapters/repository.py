"""Orders, carts and discounts in SQL: each call is one statement, each change conditional."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from prodkit.data.database import Database, Transaction
from prodkit.data.pagination import page
from prodkit.errors import FieldViolation, InvalidArgumentError
from sqlalchemy import ColumnElement, delete, func, insert, or_, select, tuple_, update

from ...asking import Ask, Tell
from ..application.ports import Work
from ..domain.order import BEFORE, IDLE, Line, Order, PaymentStatus, Status
from .rows import order_of, row_of
from .tables import carts, discounts, orders

_IDLE = orders.c.payment_status.in_([status.value for status in IDLE])


class SqlOrders:
    """The orders table."""

    async def add(self, work: Work, order: Order) -> None:
        """Keep a new order."""
        await work.execute(insert(orders).values(row_of(order)))

    async def get(self, ask: Ask, order_id: str) -> Order | None:
        """Return one order."""
        found = await ask(select(orders).where(orders.c.id == order_id))
        row = found.mappings().one_or_none()
        return None if row is None else order_of(row)

    async def page(
        self, tx: Transaction, user_id: str, *, size: int, cursor: str
    ) -> tuple[list[Order], str]:
        """Return a page of a user's orders, newest first, and the cursor of the next."""
        mine = select(orders).where(orders.c.user_id == user_id)
        newest = orders.c.created_at, orders.c.id
        found = await page(tx, mine, *newest, size=size, cursor=cursor, descending=True)
        return [order_of(row._mapping) for row in found.rows], found.next_cursor  # noqa: SLF001 - SQLAlchemy's public name

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
        changes = {
            "status": to.value,
            "payment_status": payment and payment.value,
            "payment_id": payment_id,
            "reason": reason,
        }
        return await self._update(work.execute, order_id, BEFORE[to], changes, now)

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
        """Record how the payment stands; None where the order is in another state.

        A failure is one of `payment_id` alone: it does not end a later payment's hold.
        """
        mine = orders.c.payment_id.in_(["", payment_id])
        conditions = [mine] if payment is PaymentStatus.FAILED else []
        changes: dict[str, str | None] = {
            "payment_status": payment.value,
            "payment_id": payment_id or None,
        }
        before = frozenset({while_in})
        return await self._update(work.execute, order_id, before, changes, now, *conditions)

    async def hold(self, tell: Tell, order_id: str, payment_id: str, now: datetime) -> Order | None:
        """Record that a pending order is being paid; None where it is held so, or not pending."""
        other = or_(orders.c.payment_id != payment_id, _IDLE)
        changes: dict[str, str | None] = {
            "payment_status": PaymentStatus.PENDING.value,
            "payment_id": payment_id,
        }
        return await self._update(tell, order_id, frozenset({Status.PENDING}), changes, now, other)

    async def unpaid_since(self, ask: Ask, limit: datetime, size: int) -> list[str]:
        """Return the ids of pending orders older than `limit` that no payment is under way for."""
        found = await ask(
            select(orders.c.id)
            .where(
                orders.c.status == Status.PENDING.value,
                _IDLE,
                orders.c.created_at < limit.isoformat(),
            )
            .order_by(orders.c.created_at)
            .limit(size)
        )
        return [order_id for (order_id,) in found]

    async def lapse(self, work: Work, order_id: str, now: datetime, reason: str) -> Order | None:
        """Cancel a pending order that no payment is under way for; None for any other."""
        changes: dict[str, str | None] = {"status": Status.CANCELLED.value, "reason": reason}
        before = frozenset({Status.PENDING})
        return await self._update(work.execute, order_id, before, changes, now, _IDLE)

    @staticmethod
    async def _update(
        tell: Tell,
        order_id: str,
        before: frozenset[Status],
        changes: dict[str, str | None],
        now: datetime,
        *conditions: ColumnElement[bool],
    ) -> Order | None:
        values: dict[str, Any] = {k: v for k, v in changes.items() if v is not None}
        found = await tell(
            update(orders)
            .where(orders.c.id == order_id, orders.c.status.in_([s.value for s in before]))
            .where(*conditions)
            .values(**values, version=orders.c.version + 1, updated_at=now.isoformat())
            .returning(orders)
        )
        row = found.mappings().one_or_none()
        return None if row is None else order_of(row)


class SqlCarts:
    """The carts table."""

    async def lines(self, ask: Ask, user_id: str) -> list[Line]:
        """Return the cart, in the order in which things were put into it."""
        found = await ask(
            select(carts.c.product_id, carts.c.quantity)
            .where(carts.c.user_id == user_id)
            .order_by(carts.c.position)
        )
        return [Line(row.product_id, row.quantity) for row in found]

    async def put(self, work: Work, user_id: str, line: Line) -> None:
        """Set a line's quantity; 0 takes it out."""
        mine = (carts.c.user_id == user_id) & (carts.c.product_id == line.product_id)
        if line.quantity == 0:
            await work.execute(delete(carts).where(mine))
            return
        last = (
            select(func.coalesce(func.max(carts.c.position), 0))
            .where(carts.c.user_id == user_id)
            .scalar_subquery()
        )
        row = {
            "user_id": user_id,
            "product_id": line.product_id,
            "quantity": line.quantity,
            "position": last + 1,
        }
        if not await work.tx.insert_new(carts, row):
            await work.execute(update(carts).where(mine).values(quantity=line.quantity))

    async def take_out(self, work: Work, user_id: str, lines: Sequence[Line]) -> None:
        """Remove the lines that are still as they are in `lines`."""
        found = tuple_(carts.c.product_id, carts.c.quantity)
        same = found.in_([(line.product_id, line.quantity) for line in lines])
        await work.execute(delete(carts).where(carts.c.user_id == user_id, same))

    async def clear(self, work: Work, user_id: str) -> None:
        """Empty the cart."""
        await work.execute(delete(carts).where(carts.c.user_id == user_id))


class SqlDiscounts:
    """The discounts table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def share(self, code: str) -> Decimal:
        """Return the share (0 to 1) that `code` takes off; InvalidArgumentError if unknown."""
        if not code:
            return Decimal(0)
        found = await self._database.fetch(
            select(discounts.c.share).where(discounts.c.code == code)
        )
        share = found.scalar_one_or_none()
        if share is None:
            violation = FieldViolation("/discount_code", "no such code", "exists")
            raise InvalidArgumentError(
                "the discount code is not known", reason="UNKNOWN_CODE", violations=[violation]
            )
        return Decimal(share)
