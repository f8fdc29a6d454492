"""Accounts: who is registered, with which roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from prodkit.data.database import Transaction
from prodkit.data.pagination import page
from prodkit.data.unit_of_work import UnitOfWork, Work as GenericWork
from prodkit.errors import AlreadyExistsError, FieldViolation
from prodkit.messaging.event import Event
from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError

from ..asking import Ask
from .tables import accounts

Work: TypeAlias = GenericWork[Event]
Units: TypeAlias = UnitOfWork[Event]

ACTIVE, INACTIVE = "active", "inactive"


async def add(
    work: Work, account_id: str, *, name: str, email: str, password_hash: str, roles: Sequence[str]
) -> RowMapping:
    """Keep a new account; AlreadyExistsError where the address is taken."""
    now = stamp()
    try:
        found = await work.execute(
            insert(accounts)
            .values(
                id=account_id,
                email=normal(email),
                name=name,
                password_hash=password_hash,
                status=ACTIVE,
                roles=sorted(roles),
                created_at=now,
                updated_at=now,
            )
            .returning(accounts)
        )
    except IntegrityError as error:
        raise AlreadyExistsError(
            "an account with this email exists",
            reason="EMAIL_TAKEN",
            violations=[FieldViolation("/email", "is taken", "unique")],
        ) from error
    return found.mappings().one()


async def by_id(ask: Ask, account_id: str) -> RowMapping | None:
    """Return one account."""
    found = await ask(select(accounts).where(accounts.c.id == account_id))
    return found.mappings().one_or_none()


async def by_email(ask: Ask, email: str) -> RowMapping | None:
    """Return the account with this address."""
    found = await ask(select(accounts).where(accounts.c.email == normal(email)))
    return found.mappings().one_or_none()


async def listed(tx: Transaction, *, size: int, cursor: str) -> tuple[Sequence[RowMapping], str]:
    """Return a page of accounts, oldest first, and the cursor of the next."""
    oldest = accounts.c.created_at, accounts.c.id
    found = await page(tx, select(accounts), *oldest, size=size, cursor=cursor)
    return [row._mapping for row in found.rows], found.next_cursor  # noqa: SLF001 - SQLAlchemy's public name


async def change(work: Work, account_id: str, values: Mapping[str, Any]) -> RowMapping | None:
    """Change columns that no token tells of; None for no such account."""
    return await _update(work, account_id, values)


async def revise(
    work: Work, account_id: str, now: float, values: Mapping[str, Any]
) -> RowMapping | None:
    """Change roles or status: tokens that were signed before stop being good."""
    changed = {**values, "role_version": accounts.c.role_version + 1, "revised_at": now}
    return await _update(work, account_id, changed)


async def revised_since(tx: Transaction, since: float) -> dict[str, int]:
    """Return the role version of each account whose roles or status changed after `since`."""
    found = await tx.execute(
        select(accounts.c.id, accounts.c.role_version).where(accounts.c.revised_at >= since)
    )
    return {row.id: row.role_version for row in found}


def normal(email: str) -> str:
    """Return the address as accounts are found by: case does not tell people apart."""
    return email.strip().lower()


def stamp() -> str:
    """Return now, as the tables keep it."""
    return datetime.now(UTC).isoformat()


async def _update(work: Work, account_id: str, values: Mapping[str, Any]) -> RowMapping | None:
    found = await work.execute(
        update(accounts)
        .where(accounts.c.id == account_id)
        .values(**values, updated_at=stamp())
        .returning(accounts)
    )
    return found.mappings().one_or_none()
