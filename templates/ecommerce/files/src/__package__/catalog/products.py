"""Products: what they are and cost, how they are found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeAlias

from prodkit.data.database import Transaction
from prodkit.data.pagination import page
from prodkit.data.unit_of_work import Work as GenericWork
from prodkit.errors import FieldViolation, InvalidArgumentError
from prodkit.messaging.event import Event
from sqlalchemy import ColumnElement, RowMapping, func, insert, or_, select, update

from ..asking import Ask
from .tables import products

Work: TypeAlias = GenericWork[Event]
Row: TypeAlias = "Mapping[str, Any] | RowMapping"

#: What UpdateProduct may change.
MUTABLE = ("name", "description", "price", "category")


async def add(work: Work, product: Row) -> None:
    """Keep a new product."""
    await work.execute(insert(products).values(dict(product)))


async def get(ask: Ask, product_id: str) -> Row | None:
    """Return one product."""
    found = await ask(select(products).where(products.c.id == product_id))
    return found.mappings().one_or_none()


async def get_many(ask: Ask, ids: Iterable[str]) -> Sequence[Row]:
    """Return the products of `ids` that exist, in one statement."""
    found = await ask(select(products).where(products.c.id.in_(list(ids))))
    return found.mappings().all()


async def search(
    tx: Transaction, *, query: str, category: str, size: int, cursor: str
) -> tuple[Sequence[Row], str]:
    """Return a page of products, newest first, whose name or description hold every word."""
    statement = select(products)
    for word in query.split()[:10]:
        statement = statement.where(_holds(word))
    if category:
        statement = statement.where(products.c.category == category)
    newest = products.c.created_at, products.c.id
    found = await page(tx, statement, *newest, size=size, cursor=cursor, descending=True)
    return [row._mapping for row in found.rows], found.next_cursor  # noqa: SLF001 - SQLAlchemy's public name


async def categories(ask: Ask) -> Sequence[tuple[str, int]]:
    """Return the categories in use, with how many products each has."""
    found = await ask(
        select(products.c.category, func.count().label("products"))
        .where(products.c.category != "")
        .group_by(products.c.category)
        .order_by(products.c.category)
    )
    return [(row.category, row.products) for row in found]


async def change(work: Work, product_id: str, values: Row) -> Row | None:
    """Change some columns; None for no such product."""
    found = await work.execute(
        update(products)
        .where(products.c.id == product_id)
        .values(**values, updated_at=stamp())
        .returning(products)
    )
    return found.mappings().one_or_none()


def price(text: str, field: str) -> str:
    """Return a price with two places; InvalidArgumentError unless it is above zero."""
    amount = Decimal(text or "0").quantize(Decimal("0.01"))
    if amount <= 0:
        violation = FieldViolation(field, "must be above zero", "gt")
        raise InvalidArgumentError("the price does not serve", violations=[violation])
    return str(amount)


def stamp() -> str:
    """Return now, as the tables keep it."""
    return datetime.now(UTC).isoformat()


def _holds(word: str) -> ColumnElement[bool]:
    return or_(
        products.c.name.icontains(word, autoescape=True),
        products.c.description.icontains(word, autoescape=True),
    )
