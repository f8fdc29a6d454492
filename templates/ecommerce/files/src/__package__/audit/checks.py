"""What must add up. Each check says what it saw, and names what is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from .books import Books, Row

#: States of an order whose money is ours to keep, and whose goods are the customer's.
PAID = ("confirmed", "shipped", "delivered")
#: What the provider has done for a payment in each state that a payment ends in.
MOVEMENTS = {"captured": ["capture"], "refunded": ["capture", "refund"], "failed": []}
#: What the catalog holds for an order in each state.
HOLDS = {"pending": "reserved", "cancelled": "released", **dict.fromkeys(PAID, "sold")}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw, and what is wrong with it."""

    check: str
    seen: str
    wrong: tuple[str, ...] = ()


def findings(books: Books) -> list[Finding]:
    """Run all checks."""
    return [check(books) for check in (money, payments, stock, mails, sagas, orders, messages)]


def money(books: Books) -> Finding:
    """See that captures less refunds are what the paid orders cost, each by itself."""
    held: defaultdict[str, Decimal] = defaultdict(Decimal)
    for entry in books.ledger:
        amount = Decimal(entry["amount"])
        held[entry["reference"]] += amount if entry["kind"] == "capture" else -amount
    due = {order["payment_id"]: order["total"] for order in _paid(books)}
    wrong = [
        f"payment {payment}: {held[payment]} held, {due.get(payment, 0)} due"
        for payment in sorted({*held, *due} - books.busy)
        if held[payment] != due.get(payment, Decimal(0))
    ]
    kinds = Counter(entry["kind"] for entry in books.ledger)
    seen = f"{kinds['capture']} captures - {kinds['refund']} refunds, {len(due)} paid orders"
    return Finding("money", f"{seen}, {sum(held.values(), Decimal(0))} held", tuple(wrong))


def payments(books: Books) -> Finding:
    """See that each payment is what the provider did for it, and that no order was paid twice."""
    did: defaultdict[str, list[str]] = defaultdict(list)
    for entry in books.ledger:
        did[entry["reference"]].append(entry["kind"])
    rows = books.rows["payments"]
    wrong = [
        f"payment {row['id']} is {row['status']}, the provider did {did[row['id']] or 'nothing'}"
        for row in rows
        if did[row["id"]] != MOVEMENTS.get(row["status"]) and row["id"] not in books.busy
    ]
    wrong += [f"payment {each} is the provider's alone" for each in {*did} - _ids(rows)]
    captured = Counter(row["order_id"] for row in rows if row["status"] == "captured")
    wrong += [f"order {order} was paid {n} times" for order, n in captured.items() if n > 1]
    return Finding("payments", _counted(rows), tuple(wrong))


def stock(books: Books) -> Finding:
    """See that counts are the sums of reservations, and reservations what their orders say."""
    held = {(row["product_id"], row["status"]): row["quantity"] for row in books.rows["lines"]}
    products = books.rows["products"]
    wrong = [
        f"product {row['id']}: {row[kind]} {kind}, {held.get((row['id'], kind), 0)} by its orders"
        for row in products
        for kind in ("reserved", "sold")
        if row[kind] != held.get((row["id"], kind), 0)
    ]
    kept = {row["order_id"]: row["status"] for row in books.rows["reservations"]}
    wrong += [
        f"order {order['id']} is {order['status']}, its stock {kept.get(order['id'], 'unknown')}"
        for order in books.rows["orders"]
        if order["status"] in HOLDS
        and kept.get(order["id"]) != HOLDS[order["status"]]
        and order["id"] not in books.busy
    ]
    sums = (
        f"{sum(p[kind] for p in products)} {kind}" for kind in ("available", "reserved", "sold")
    )
    return Finding("stock", ", ".join(sums), tuple(wrong))


def mails(books: Books) -> Finding:
    """See that whoever has a confirmed order was told so, and that no message is stuck."""
    waiting = books.rows["notifications"]
    on_the_way = {row["subject"] for row in waiting if not books.overdue(row["created_at"])}
    unmailed = {row["user_id"] for row in books.rows["unmailed"]}
    paid = [order["id"] for order in _paid(books) if order["user_id"] not in unmailed]
    told = books.mailed | on_the_way
    wrong = [f"order {o}: no mail" for o in paid if f"Your order {o} is confirmed" not in told]
    wrong += [
        f"notification {row['id']} is {row['status']}"
        for row in waiting
        if row["status"] == "failed" or books.overdue(row["created_at"])
    ]
    return Finding("mails", f"{len(paid)} confirmed orders, {len(waiting)} to send", tuple(wrong))


def sagas(books: Books) -> Finding:
    """See that every saga ended, or may still take its time."""
    rows = books.rows["sagas"]
    wrong = [
        f"{saga['saga']} {saga['id']} is {saga['status']} at {saga['step']}: {saga['reason']}"
        for saga in rows
        if saga["status"] == "needs_attention" or books.overdue(saga["created_at"])
    ]
    return Finding("sagas", f"{len(rows)} not ended", tuple(wrong))


def orders(books: Books) -> Finding:
    """See that no order waits for its payment for ever."""
    rows = books.rows["orders"]
    wrong = [
        f"order {order['id']} is pending since {order['created_at']}"
        for order in rows
        if order["status"] == "pending" and books.overdue(order["created_at"])
    ]
    return Finding("orders", _counted(rows), tuple(wrong))


def messages(books: Books) -> Finding:
    """See that what happened was told to everybody who listens."""
    unsent, queued, dead = (books.rows[name] for name in ("unsent", "messages", "dead letters"))
    wrong = [
        f"event {row['type']} of {row['subject']} is not published: {row['error']}"
        for row in unsent
        if books.overdue(row["created_at"])
    ]
    wrong += [
        f"queue {row['queue']}: {row['type']} of {row['key']} waits"
        for row in queued
        if books.overdue(row["due"])
    ]
    wrong += [f"queue {r['queue']}: dead letter {r['type']}: {r['reason']}" for r in dead]
    seen = f"{len(unsent)} to publish, {len(queued)} queued, {len(dead)} dead"
    return Finding("messages", seen, tuple(wrong))


def _paid(books: Books) -> list[Row]:
    return [
        order
        for order in books.rows["orders"]
        if order["status"] in PAID and order["id"] not in books.busy
    ]


def _ids(rows: Iterable[Row]) -> set[str]:
    return {row["id"] for row in rows}


def _counted(rows: Iterable[Row]) -> str:
    counts = Counter(row["status"] for row in rows)
    return ", ".join(f"{n} {status}" for status, n in sorted(counts.items())) or "none"
