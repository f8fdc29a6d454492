"""The books: everything that the audit compares, read once."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias

import httpx2
from prodkit.data.database import Database, Transaction
from sqlalchemy import text

from ..engines import database
from ..peers import SERVICES
from ..settings import Settings
from .queues import queued

Row: TypeAlias = dict[str, Any]

#: Mails that are compared, the newest.
MOST_MAILS: Final = 100_000
#: Seconds for one answer: books of 100,000 orders take their time on a busy machine.
PATIENCE: Final = 60.0
#: What is read of every service: work that has not ended, events that are not published.
SAGAS: Final = """
    SELECT id, saga, status, step, reason, created_at FROM saga
    WHERE status NOT IN ('completed', 'compensated', 'abandoned')"""
UNSENT: Final = "SELECT type, subject, error, created_at FROM outbox WHERE sent_at IS NULL"
#: What is read of one: its name in the books, whose database, how.
QUERIES: Final = (
    ("orders", "orders", "SELECT * FROM orders"),
    ("payments", "payments", "SELECT id, order_id, status, amount FROM payments"),
    ("products", "catalog", "SELECT id, available, reserved, sold FROM products"),
    ("reservations", "catalog", "SELECT order_id, status FROM reservations"),
    (
        "lines",
        "catalog",
        "SELECT product_id, status, sum(quantity) AS quantity FROM reservation_lines"
        " JOIN reservations USING (order_id) GROUP BY product_id, status",
    ),
    ("unmailed", "notifications", "SELECT user_id FROM preferences WHERE NOT email"),
    (
        "notifications",
        "notifications",
        "SELECT id, subject, status, created_at FROM notifications WHERE status <> 'sent'",
    ),
)


@dataclass(frozen=True, slots=True)
class Books:
    """What was read. `limit` is how old, in seconds, what is half done may be.

    `busy` are the payments and orders that a saga younger than that works on.
    """

    now: float
    limit: float
    ledger: list[Row]
    mailed: frozenset[str]
    rows: dict[str, list[Row]]
    busy: frozenset[str]

    def overdue(self, began: float | str) -> bool:
        """Say whether what began then (Unix or ISO time) should have ended by now."""
        if isinstance(began, str):
            began = datetime.fromisoformat(began).timestamp()
        return began <= self.now - self.limit


async def read(settings: Settings, *, limit: float) -> Books:
    """Read all books. Raises UnavailableError, httpx2.HTTPError, SQLAlchemyError."""
    # The world's first: whatever it has done, the shop had written down that it would ask.
    async with httpx2.AsyncClient(base_url=settings.provider_url, timeout=PATIENCE) as outside:
        ledger = (await outside.get("/v1/ledger")).raise_for_status().json()["entries"]
        mails = await outside.get("/sandbox/mailbox.json", params={"limit": MOST_MAILS})
        mailed = frozenset(m["subject"] for m in mails.raise_for_status().json()["messages"])
    now = time.time()
    rows: dict[str, list[Row]] = {"sagas": [], "unsent": []}
    for service in SERVICES:
        await _read_one(database(settings, service, statement=PATIENCE), service, rows)
    rows["messages"], rows["dead letters"] = await queued(settings, now)
    rows["orders"] = [{**row, "total": _total(row)} for row in rows["orders"]]
    busy = _busy([s for s in rows["sagas"] if s["created_at"] > now - limit], rows["payments"])
    return Books(now, limit, ledger, mailed, rows, busy)


async def _read_one(books: Database, owner: str, rows: dict[str, list[Row]]) -> None:
    """Read the books of one service, as they are at one instant."""
    try:
        async with books.read() as tx:
            rows["sagas"] += await _query(tx, SAGAS)
            rows["unsent"] += await _query(tx, UNSENT)
            for name, whose, statement in QUERIES:
                if whose == owner:
                    rows[name] = await _query(tx, statement)
    finally:
        await books.stop()


async def _query(tx: Transaction, statement: str) -> list[Row]:
    return [dict(row) for row in (await tx.execute(text(statement))).mappings()]


def _busy(sagas: list[Row], payments: list[Row]) -> frozenset[str]:
    ids = {saga["id"].removeprefix("refund-") for saga in sagas}
    return frozenset(ids | {p["order_id"] for p in payments if p["id"] in ids})


def _total(order: Row) -> Decimal:
    agreed = order["agreed"]
    if isinstance(agreed, str):  # SQLite's JSON is text
        agreed = json.loads(agreed)
    less, more = Decimal(agreed["discount"]), ("subtotal", "shipping", "tax")
    return sum((Decimal(agreed[name]) for name in more), -less)
