"""Pages by key: each page starts after the last row of the one before, however deep it is."""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from prodkit._extras import extra

with extra("sql", of=__name__):
    import sqlalchemy  # noqa: F401

from sqlalchemy import BigInteger, ColumnElement, Row, Select, literal, tuple_

from prodkit.data.database import Transaction
from prodkit.errors import FieldViolation, InvalidArgumentError

Key: TypeAlias = str | int | float


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page, and the cursor of the next: empty when this was the last."""

    rows: Sequence[Row[Any]]
    next_cursor: str


def encode_cursor(*keys: Key) -> str:
    """Return an opaque cursor, fit for URLs, that stands after the row with these keys."""
    text = json.dumps(keys, separators=(",", ":"), allow_nan=False)
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str, *types: type) -> tuple[Key, ...]:
    """Return the keys in `cursor` if there is one of each of `types`.

    Raises InvalidArgumentError. A cursor is not signed: what a caller writes into it must only ever
    choose where a page begins, never what may be seen.
    """
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        keys = json.loads(text, parse_constant=_refuse)
    except (ValueError, binascii.Error, RecursionError):
        raise _invalid() from None
    if not isinstance(keys, list) or [type(key) for key in keys] != list(types):
        raise _invalid()
    if not all(_can_be_stored(key) for key in keys):
        raise _invalid()
    return tuple(keys)


def _can_be_stored(key: Key) -> bool:
    """Say whether databases hold such a value: their drivers raise at any other."""
    if isinstance(key, str):
        # Neither NUL, which PostgreSQL refuses, nor lone surrogates, which are no text.
        return "\0" not in key and key == key.encode(errors="replace").decode()
    return not isinstance(key, int) or -(2**63) <= key < 2**63


def _bound(key: Key) -> ColumnElement[Any]:
    # Whatever the column's width: a cursor may hold a number that is too wide for it.
    return literal(key, BigInteger()) if isinstance(key, int) else literal(key)


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _invalid() -> InvalidArgumentError:
    return InvalidArgumentError(
        "the page cursor is not one of ours",
        reason="INVALID_CURSOR",
        violations=[FieldViolation("/cursor", "must be a cursor from an earlier page", "cursor")],
    )


async def page(
    tx: Transaction,
    statement: Select[Any],
    *keys: ColumnElement[Any],
    size: int,
    cursor: str = "",
    descending: bool = False,
) -> Page:
    """Return one page of `statement`, ordered by `keys`, which together are unique.

    `statement` selects the key columns and has no ORDER BY or LIMIT of its own. One statement a
    page, whatever its size. Raises InvalidArgumentError for a bad cursor.
    """
    if size < 1:
        raise InvalidArgumentError(f"the page size must be at least 1, not {size}")
    if cursor:
        after = tuple_(
            *(_bound(key) for key in decode_cursor(cursor, *(key.type.python_type for key in keys)))
        )
        place = tuple_(*keys)
        statement = statement.where(place < after if descending else place > after)
    order = [key.desc() if descending else key.asc() for key in keys]
    # One row more than asked for tells whether there is a next page.
    rows = (await tx.execute(statement.order_by(*order).limit(size + 1))).all()
    if len(rows) <= size:
        return Page(rows, "")
    last = rows[size - 1]._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    return Page(rows[:size], encode_cursor(*(last[key] for key in keys)))
