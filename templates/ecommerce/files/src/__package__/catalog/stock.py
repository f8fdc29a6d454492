"""Stock: available, reserved, sold. It moves between the three, and only a restock adds to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from prodkit.data.database import Database, Transaction
from prodkit.data.unit_of_work import UnitOfWork, Work as GenericWork
from prodkit.errors import FailedPreconditionError
from prodkit.messaging.event import Event
from sqlalchemy import Column, insert, select, update

from .tables import products, reservation_lines, reservations

Work: TypeAlias = GenericWork[Event]
Units: TypeAlias = UnitOfWork[Event]
Lines: TypeAlias = Sequence[tuple[str, int]]

RESERVED, SOLD, RELEASED = "reserved", "sold", "released"
#: Units that a restock may bring a product to. What comes back from orders still fits the
#: contract's 32 bits then.
MOST_UNITS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Reservation:
    """What an order holds, and until when (Unix time) if it is not paid."""

    order_id: str
    status: str
    expires_at: float


class Stock:
    """Reserves, sells and releases for orders; every call may be repeated.

    A reservation lasts `lifetime` seconds at least. One that is due can still be sold until the
    sweep takes it: the stock is held until then.
    """

    def __init__(
        self, database: Database, units: Units, *, lifetime: float, now: Callable[[], float]
    ) -> None:
        self._database = database
        self._units = units
        self._lifetime = lifetime
        self._now = now

    async def reserve(self, order_id: str, lines: Lines) -> Reservation:
        """Hold all `lines` or none. FailedPreconditionError: OUT_OF_STOCK, RESERVATION_RELEASED."""
        wanted: Counter[str] = Counter()
        for product_id, quantity in lines:
            wanted[product_id] += quantity
        made = Reservation(order_id, RESERVED, self._now() + self._lifetime)
        return await self._units.run(lambda work: self._reserve(work, made, wanted))

    async def _reserve(
        self, work: Work, made: Reservation, wanted: Mapping[str, int]
    ) -> Reservation:
        if not await work.tx.insert_new(reservations, _row(made)):
            found = await _locked(work.tx, made.order_id)
            _unless_released(found)
            return found
        rows = [
            {"order_id": made.order_id, "product_id": product_id, "quantity": quantity}
            for product_id, quantity in wanted.items()
        ]
        await work.execute(insert(reservation_lines), rows)
        # Last, as everybody else waits for these rows; in one sequence for all, so that no two
        # orders wait for each other.
        for product_id, quantity in sorted(wanted.items()):
            await _take(work, product_id, quantity)
        return made

    async def commit(self, order_id: str) -> Reservation:
        """Turn what the order holds into a sale; FailedPreconditionError once it was released."""
        return await self._units.run(lambda work: self._commit(work, order_id))

    async def _commit(self, work: Work, order_id: str) -> Reservation:
        sold = await work.execute(
            update(reservations)
            .where(reservations.c.order_id == order_id, reservations.c.status == RESERVED)
            .values(status=SOLD)
            .returning(reservations)
        )
        row = sold.mappings().one_or_none()
        if row is not None:
            await self._shift(work, order_id, products.c.reserved, products.c.sold)
            return Reservation(**row)
        found = await _locked(work.tx, order_id)
        _unless_released(found)
        # Reserved since the look above: now nobody else changes it.
        return found if found.status == SOLD else await self._commit(work, order_id)

    async def release(self, order_id: str) -> Reservation:
        """Give back what the order holds, reserved or sold; it can never reserve again."""
        return await self._units.run(lambda work: self.release_in(work, order_id))

    async def release_in(self, work: Work, order_id: str) -> Reservation:
        """Do the same in a unit of work that is open."""
        gone = Reservation(order_id, RELEASED, self._now())
        if await work.tx.insert_new(reservations, _row(gone)):
            return gone
        found = await _locked(work.tx, order_id)
        if found.status != RELEASED:
            held = products.c.reserved if found.status == RESERVED else products.c.sold
            await _set(work, order_id, RELEASED)
            await self._shift(work, order_id, held, products.c.available)
        return gone

    async def sweep(self, batch: int = 100) -> int:
        """Release the reservations that are due; return how many."""
        found = await self._database.fetch(
            select(reservations.c.order_id)
            .where(reservations.c.status == RESERVED, reservations.c.expires_at < self._now())
            .limit(batch)
        )
        due = [order_id for (order_id,) in found]
        for order_id in due:
            await self._units.run(partial(self._expire, order_id))
        return len(due)

    async def _expire(self, order_id: str, work: Work) -> None:
        if (await _locked(work.tx, order_id)).status != RESERVED:
            return
        await self.release_in(work, order_id)
        work.record(
            Event(type="stock.reservation_expired", subject=order_id, data={"order_id": order_id})
        )

    async def restock(self, work: Work, product_id: str, quantity: int, now: str) -> Any:
        """Add to what is available; return the product's row, None for no such product.

        FailedPreconditionError: STOCK_FULL.
        """
        held = products.c.available + products.c.reserved
        found = await work.execute(
            update(products)
            .where(products.c.id == product_id, held <= MOST_UNITS - quantity)
            .values(available=products.c.available + quantity, updated_at=now)
            .returning(products)
        )
        row = found.mappings().one_or_none()
        known = select(products.c.id).where(products.c.id == product_id)
        if row is None and (await work.execute(known)).first() is not None:
            raise FailedPreconditionError(
                f"a product has {MOST_UNITS} units at most", reason="STOCK_FULL"
            )
        return row

    @staticmethod
    async def _shift(work: Work, order_id: str, source: Column[int], target: Column[int]) -> None:
        """Move all lines of an order from one count to another, in one statement.

        Rows are locked in the sequence in which others reserve them.
        """
        quantity = (
            select(reservation_lines.c.quantity)
            .where(
                reservation_lines.c.order_id == order_id,
                reservation_lines.c.product_id == products.c.id,
            )
            .scalar_subquery()
        )
        lines = select(reservation_lines.c.product_id).where(
            reservation_lines.c.order_id == order_id
        )
        mine = (
            select(products.c.id)
            .where(products.c.id.in_(lines))
            .order_by(products.c.id)
            .with_for_update()
        )
        await work.execute(
            update(products)
            .where(products.c.id.in_(mine))
            .values({source: source - quantity, target: target + quantity})
        )


async def _take(work: Work, product_id: str, quantity: int) -> None:
    found = await work.execute(
        update(products)
        .where(products.c.id == product_id, products.c.available >= quantity)
        .values(available=products.c.available - quantity, reserved=products.c.reserved + quantity)
    )
    if found.rowcount == 0:
        raise FailedPreconditionError(
            f"product {product_id} is not in stock in that quantity",
            reason="OUT_OF_STOCK",
            metadata={"product_id": product_id},
        )


async def _locked(tx: Transaction, order_id: str) -> Reservation:
    """Return a reservation, which nobody else changes until this transaction ends."""
    query = select(reservations).where(reservations.c.order_id == order_id).with_for_update()
    row = (await tx.execute(query)).mappings().one_or_none()
    if row is None:
        raise FailedPreconditionError(f"order {order_id} holds no stock", reason="NOT_RESERVED")
    return Reservation(**row)


async def _set(work: Work, order_id: str, status: str) -> None:
    await work.execute(
        update(reservations).where(reservations.c.order_id == order_id).values(status=status)
    )


def _row(reservation: Reservation) -> dict[str, object]:
    return {
        "order_id": reservation.order_id,
        "status": reservation.status,
        "expires_at": reservation.expires_at,
    }


def _unless_released(reservation: Reservation) -> None:
    if reservation.status == RELEASED:
        raise FailedPreconditionError(
            f"the stock of order {reservation.order_id} was released",
            reason="RESERVATION_RELEASED",
        )
