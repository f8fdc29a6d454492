"""Payments in SQL: each change is one statement, conditional on the state it starts from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from prodkit.data.database import Transaction
from prodkit.data.pagination import page
from prodkit.data.unit_of_work import UnitOfWork, Work as GenericWork
from prodkit.errors import AlreadyExistsError
from prodkit.messaging.event import Event
from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError

from ..asking import Ask, Tell
from .provider import Token
from .tables import means, payments

Work: TypeAlias = GenericWork[Event]
Units: TypeAlias = UnitOfWork[Event]

#: From where each state may be reached: a late `authorized` never undoes `captured`.
BEFORE = {
    "authorized": ("pending",),
    "captured": ("pending", "authorized"),
    "failed": ("pending", "authorized"),
    "refunded": ("captured",),
}


def may_reach(status: str, to: str) -> bool:
    """Say whether a payment in this state can ever be in the other, by one move or by several."""
    before = BEFORE.get(to, ())
    return status in before or any(may_reach(status, each) for each in before)


@dataclass(frozen=True, slots=True)
class Payment:
    """One attempt to pay for one order."""

    id: str
    order_id: str
    user_id: str
    status: str
    method: str
    handle: str
    amount: str
    currency: str
    created_at: str
    updated_at: str
    card_last4: str = ""
    authorization_id: str = ""
    message: str = ""


async def add(work: Work, payment: Payment) -> None:
    """Keep a new payment; AlreadyExistsError where the order has a live one."""
    values = {name: getattr(payment, name) for name in Payment.__dataclass_fields__}
    try:
        await work.execute(insert(payments).values(values))
    except IntegrityError as error:
        raise AlreadyExistsError(
            f"order {payment.order_id} has a payment already", reason="PAYMENT_EXISTS"
        ) from error


async def get(ask: Ask, payment_id: str) -> Payment | None:
    """Return one payment."""
    found = await ask(select(payments).where(payments.c.id == payment_id))
    return _one(found.mappings().one_or_none())


async def status_of(ask: Ask, payment_id: str) -> str | None:
    """Return the state of a payment."""
    found = await ask(select(payments.c.status).where(payments.c.id == payment_id))
    status: str | None = found.scalar_one_or_none()
    return status


async def newest_of_order(ask: Ask, order_id: str) -> Payment | None:
    """Return the last payment that was begun for an order."""
    query = select(payments).where(payments.c.order_id == order_id)
    query = query.order_by(payments.c.created_at.desc()).limit(1)
    return _one((await ask(query)).mappings().one_or_none())


async def page_of_user(
    tx: Transaction, user_id: str, *, size: int, cursor: str
) -> tuple[list[Payment], str]:
    """Return a page of a user's payments, newest first, and the cursor of the next."""
    mine = select(payments).where(payments.c.user_id == user_id)
    newest = payments.c.created_at, payments.c.id
    found = await page(tx, mine, *newest, size=size, cursor=cursor, descending=True)
    return [Payment(**row._asdict()) for row in found.rows], found.next_cursor


async def move(
    work: Work, payment_id: str, to: str, now: datetime, *, message: str = "", **learned: str
) -> Payment | None:
    """Change the state, and what was `learned`, if the present one admits it; else None.

    An empty `message` leaves what was noted before.
    """
    said = {"message": message} if message else {}
    found = await work.execute(
        update(payments)
        .where(payments.c.id == payment_id, payments.c.status.in_(BEFORE[to]))
        .values(status=to, updated_at=now.isoformat(), **said, **learned)
        .returning(payments)
    )
    return _one(found.mappings().one_or_none())


async def note(tell: Tell, payment_id: str, **values: Any) -> None:
    """Write what was learned of a payment without moving it."""
    await tell(update(payments).where(payments.c.id == payment_id).values(**values))


async def add_means(
    tell: Tell, handle: str, user_id: str, method: str, token: Token | None, now: datetime
) -> None:
    """Keep what may be kept of a means of payment."""
    await tell(
        insert(means).values(
            handle=handle,
            user_id=user_id,
            method=method,
            token=token.token if token else "",
            last4=token.last4 if token else "",
            created_at=now.isoformat(),
        )
    )


async def get_means(ask: Ask, handle: str) -> RowMapping | None:
    """Return the row of a means of payment."""
    found = await ask(select(means).where(means.c.handle == handle))
    return found.mappings().one_or_none()


async def set_token(work: Work, handle: str, token: Token) -> None:
    """Keep the token that the provider gave in the end."""
    await work.execute(
        update(means).where(means.c.handle == handle).values(token=token.token, last4=token.last4)
    )
    await work.execute(
        update(payments).where(payments.c.handle == handle).values(card_last4=token.last4)
    )


def _one(row: RowMapping | None) -> Payment | None:
    return None if row is None else Payment(**row)
