"""A shop with very many orders: the rows of one real one, again and again, in every database."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from harness import Shop
from servers import EnginesShop, execute

#: Portable: 1, 2, ... as often as is asked.
_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
_EVENT = "type, {subject}, partition, body, traceparent, request_id, created_at, sent_at, attempts"


def multiply(shop: Shop, order: str, payment: str, product: str, count: int) -> None:
    """Give a stopped shop `count` orders more that are as `order` is, mails and money included."""
    for service, statements in _statements(order, payment, product).items():
        _run(shop, service, [each.format(count=count) for each in statements])


def _statements(order: str, payment: str, product: str) -> dict[str, list[str]]:
    return {
        "orders": [_orders(order), _outbox(order)],
        "payments": [_payments(payment), _sagas(payment), _outbox(order)],
        "catalog": [
            _clone("reservations", f"'{order}-' || i, status, expires_at", "order_id", order),
            _clone(
                "reservation_lines", f"'{order}-' || i, product_id, quantity", "order_id", order
            ),
            f"UPDATE products SET available = available - {{count}}, sold = sold + {{count}}"
            f" WHERE id = '{product}'",
        ],
        "notifications": [_notifications(order), _inbox()],
        "sandbox": [_ledger(payment), _mails(order)],
    }


def _clone(table: str, columns: str, key: str, value: str, *, into: str = "") -> str:
    names = f" ({into})" if into else ""
    return (
        f"INSERT INTO {table}{names} {_NUMBERS} SELECT {columns} FROM n, {table}"
        f" WHERE {table}.{key} = '{value}'"
    )


def _orders(order: str) -> str:
    columns = (
        f"'{order}-' || i, user_id, status, payment_status, payment_id || '-' || i, reason,"
        " version, agreed, created_at, updated_at"
    )
    return _clone("orders", columns, "id", order)


def _payments(payment: str) -> str:
    columns = (
        "id || '-' || i, order_id || '-' || i, user_id, status, method, handle, amount, currency,"
        " card_last4, authorization_id, message, created_at, updated_at"
    )
    return _clone("payments", columns, "id", payment)


def _sagas(payment: str) -> str:
    columns = (
        "saga, steps, status, phase, step, state, attempts, next_attempt, error, reason, owner,"
        " lease_until, fence, traceparent, request_id, created_at, updated_at"
    )
    return _clone("saga", f"id || '-' || i, {columns}", "id", payment, into=f"id, {columns}")


def _outbox(order: str) -> str:
    into = f"id, {_EVENT.format(subject='subject')}, next_attempt, error"
    columns = _EVENT.format(subject="subject || '-' || i")
    return _clone(
        "outbox", f"id || '-' || i, {columns}, next_attempt, error", "subject", order, into=into
    )


def _notifications(order: str) -> str:
    columns = (
        "id || '-' || i, user_id, channel, recipient, event_id || '-' || i, event_type,"
        f" replace(subject, '{order}', '{order}-' || i), body, traceparent, request_id, status,"
        " attempts, due_at, created_at, sent_at"
    )
    return _clone("notifications", columns, "event_type", "order.confirmed")


def _inbox() -> str:
    return _clone(
        "inbox", "consumer, source, id || '-' || i, handled_at", "consumer", "notifications"
    )


def _ledger(payment: str) -> str:
    columns = "kind, {a}, {r}, amount, currency"
    mine = columns.format(a="authorization || '-' || i", r="reference || '-' || i")
    into = columns.format(a="authorization", r="reference")
    return _clone("ledger", mine, "reference", payment, into=into)


def _mails(order: str) -> str:
    into = "channel, recipient, subject, body, message_id, received_at"
    columns = (
        f"channel, recipient, replace(subject, '{order}', '{order}-' || i), body,"
        " message_id || '-' || i, received_at"
    )
    return _clone("messages", columns, "subject", f"Your order {order} is confirmed", into=into)


def _run(shop: Shop, service: str, statements: Sequence[str]) -> None:
    if isinstance(shop, EnginesShop) and service != "sandbox":
        execute(shop.database_url.replace("{service}", service), *statements, "ANALYZE")
        return
    path: Path = shop.folder / "var" / f"{service}.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        for each in statements:
            connection.execute(each)
