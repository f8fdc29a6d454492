"""The books: everything that the audit compares, read once."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx2

Row: TypeAlias = dict[str, Any]

#: Mails that are compared, the newest.
MOST_MAILS: Final = 100_000
SERVICES: Final = ("users", "catalog", "orders", "payments", "notifications")
#: What is read of every service: work that has not ended, events that are not published.
SAGAS: Final = """
    SELECT id, saga, status, step, reason, created_at FROM saga
    WHERE status NOT IN ('completed', 'compensated')"""
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
    ("messages", "broker", "SELECT queue, type, key, due FROM message"),
    ("dead letters", "broker", "SELECT queue, type, key, reason FROM dead_letter"),
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


def read(folder: Path, sandbox_url: str, *, limit: float) -> Books:
    """Read all books. Raises sqlite3.Error, httpx2.HTTPError."""
    # The world's first: whatever it has done, the shop had written down that it would ask.
    with httpx2.Client(base_url=sandbox_url, timeout=10.0) as outside:
        ledger = outside.get("/v1/ledger").raise_for_status().json()["entries"]
        mails = outside.get("/sandbox/mailbox.json", params={"limit": MOST_MAILS})
        mailed = frozenset(m["subject"] for m in mails.raise_for_status().json()["messages"])
    now = time.time()
    rows = {
        "sagas": [row for name in SERVICES for row in _query(folder, name, SAGAS)],
        "unsent": [row for name in SERVICES for row in _query(folder, name, UNSENT)],
        **{name: list(_query(folder, owner, query)) for name, owner, query in QUERIES},
    }
    rows["orders"] = [{**row, "total": _total(row)} for row in rows["orders"]]
    busy = _busy([s for s in rows["sagas"] if s["created_at"] > now - limit], rows["payments"])
    return Books(now, limit, ledger, mailed, rows, busy)


def _query(folder: Path, owner: str, statement: str) -> Iterator[Row]:
    address = f"{(folder / owner).resolve().as_uri()}.db?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=5.0)) as connection:
        connection.row_factory = sqlite3.Row
        for row in connection.execute(statement):
            yield dict(row)


def _busy(sagas: list[Row], payments: list[Row]) -> frozenset[str]:
    ids = {saga["id"].removeprefix("refund-") for saga in sagas}
    return frozenset(ids | {p["order_id"] for p in payments if p["id"] in ids})


def _total(order: Row) -> Decimal:
    agreed = json.loads(order["agreed"])
    less, more = Decimal(agreed["discount"]), ("subtotal", "shipping", "tax")
    return sum((Decimal(agreed[name]) for name in more), -less)
