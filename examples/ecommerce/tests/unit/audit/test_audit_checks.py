from decimal import Decimal

import pytest

from ecommerce.audit import checks
from ecommerce.audit.books import Books
from ecommerce.audit.report import run, table
from ecommerce.settings import Settings

NOW = 1_000_000.0
LONG_AGO, JUST_NOW = NOW - 1000, NOW - 1


def books(*, busy=(), mailed=("Your order order-1 is confirmed",), ledger=None, **rows):
    """One paid order of 12.50, as everybody should have written it down; `rows` replace some."""
    order = {
        "id": "order-1",
        "user_id": "user-1",
        "status": "confirmed",
        "payment_id": "payment-1",
        "total": Decimal("12.50"),
        "created_at": "1970-01-02T00:00:00+00:00",
    }
    payment = {"id": "payment-1", "order_id": "order-1", "status": "captured", "amount": "12.50"}
    usual = {
        "orders": [order | rows.pop("order", {})],
        "payments": [payment | rows.pop("payment", {})],
        "products": [{"id": "product-1", "available": 5, "reserved": 0, "sold": 2}],
        "reservations": [{"order_id": "order-1", "status": "sold"}],
        "lines": [{"product_id": "product-1", "status": "sold", "quantity": 2}],
        "unmailed": [],
        "notifications": [],
        "sagas": [],
        "unsent": [],
        "messages": [],
        "dead letters": [],
    }
    entries = [entry("capture")] if ledger is None else ledger
    return Books(NOW, 60.0, entries, frozenset(mailed), usual | rows, frozenset(busy))


def entry(kind, amount="12.50", payment="payment-1"):
    return {"kind": kind, "reference": payment, "amount": amount}


def wrong(of):
    return {finding.check for finding in checks.findings(of) if finding.wrong}


def test_books_that_balance():
    assert wrong(books()) == set()


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (books(ledger=[]), {"money", "payments"}),
        (books(ledger=[entry("capture", "12.49")]), {"money"}),
        (books(ledger=[entry("capture"), entry("capture")]), {"money", "payments"}),
        (books(ledger=[entry("capture"), entry("refund")]), {"money", "payments"}),
        (books(ledger=[entry("capture"), entry("capture", "1", "x")]), {"money", "payments"}),
        (books(order={"status": "cancelled"}), {"money", "stock"}),
        (books(order={"status": "pending"}), {"money", "stock", "orders"}),
        (books(payment={"status": "failed"}), {"payments"}),
        (books(mailed=()), {"mails"}),
        (books(lines=[]), {"stock"}),
        (books(reservations=[{"order_id": "order-1", "status": "released"}]), {"stock"}),
        (books(**{"dead letters": [{"queue": "q", "type": "t", "reason": "r"}]}), {"messages"}),
    ],
)
def test_whatever_differs_is_found(told, found):
    assert wrong(told) == found


@pytest.mark.parametrize(("began", "found"), [(JUST_NOW, set()), (LONG_AGO, {"sagas"})])
def test_what_is_under_way_has_its_time(began, found):
    saga = {"id": "payment-1", "saga": "payment", "status": "running", "step": "confirm"}
    held = books(
        order={"status": "pending", "created_at": "1970-01-12T13:46:39+00:00"},
        payment={"status": "authorized"},
        reservations=[{"order_id": "order-1", "status": "reserved"}],
        sagas=[saga | {"reason": "", "created_at": began}],
        busy={"payment-1", "order-1"},
    )
    assert wrong(held) == found


def test_a_saga_that_needs_somebody_is_found_at_once():
    saga = {"id": "s", "saga": "refund", "status": "needs_attention", "step": "refund"}
    assert wrong(books(sagas=[saga | {"reason": "?", "created_at": JUST_NOW}])) == {"sagas"}


def test_who_wants_no_mail_gets_none():
    assert wrong(books(mailed=(), unmailed=[{"user_id": "user-1"}])) == set()


def test_the_table_names_what_is_wrong():
    shown = table(checks.findings(books(mailed=())))
    assert "mails     1 wrong" in shown
    assert "- order order-1: no mail" in shown
    assert shown.count("ok ") == 6


def test_a_sandbox_that_is_away_is_told_with_its_address(tmp_path, capsys):
    (tmp_path / "orders.db").touch()
    settings = Settings(data_dir=tmp_path, sandbox_port=1)
    assert run(settings, limit=1.0, patience=0.0) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("audit: the books cannot be read: http://127.0.0.1:1/")
    assert line.endswith("(is the sandbox running?)")
