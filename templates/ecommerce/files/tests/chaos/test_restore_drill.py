"""Scenario 25: the databases are gone, and a backup brings back what was acknowledged before it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from customers import Customers
from harness import Shop, eventually

#: Seconds in which everything must have settled.
QUIESCE = 30.0


def _stop(shop: Shop) -> None:
    assert shop.shop is not None
    shop.shop.kill()


def _lose(shop: Shop) -> None:
    """Remove all that the shop kept; the outside world keeps what it saw."""
    for path in (shop.folder / "var").glob("**/*.*"):
        if not path.name.startswith("sandbox"):
            path.unlink()


def _run(shop: Shop, *command: object) -> str:
    code, said = shop.run(*command)
    assert code == 0, said
    return said


def test_25_what_was_lost_is_restored_and_nothing_is_sent_twice(
    own_shop: Callable[..., Shop], tmp_path: Path
) -> None:
    shop = own_shop()
    product, email = shop.product(inventory=100), shop.account()
    credentials = {"email": email, "password": "securepassword"}
    session = shop.api.post("/api/v1/auth/login", json=credentials).json()
    buyer = shop.login(**credentials)
    paid = [shop.checkout(buyer, product).json()["order"]["id"] for _ in range(10)]
    waiting = shop.place(buyer, product)["id"]
    eventually(lambda: len(shop.mails()) > len(paid))  # the welcome, too
    assert shop.audit(limit=900, patience=QUIESCE)[0] == 0
    mails, ledger = shop.mails(), shop.ledger()

    said = _run(shop, "backup", tmp_path / "b")
    assert "nobody could write for" in said
    code, said = shop.run("restore", tmp_path / "b", "--force")
    assert (code, "is in use: stop the shop first" in said) == (2, True)
    _stop(shop)
    _lose(shop)
    _run(shop, "restore", tmp_path / "b")
    shop.start_shop()

    code, told = shop.audit(limit=900, patience=QUIESCE)
    assert code == 0, told
    assert "10 captures - 0 refunds, 10 paid orders" in told
    # Keys are no part of a backup: sessions go on by their refresh tokens.
    assert shop.api.get(f"/api/v1/orders/{waiting}", headers=buyer).status_code == 401
    renewed = shop.api.post(
        "/api/v1/auth/refresh", json={"refresh_token": session["refresh_token"]}
    )
    buyer = {"authorization": f"Bearer {renewed.json()['access_token']}"}
    assert {shop.order(buyer, order)["status"] for order in paid} == {"confirmed"}
    assert shop.order(buyer, waiting)["status"] == "pending"
    assert shop.pay(buyer, waiting).status_code == 201
    assert shop.ledger()[: len(ledger)] == ledger
    assert shop.mails()[-len(mails) :] == mails


@pytest.mark.slow
def test_25_a_backup_under_load_holds_what_was_acknowledged_before_it(
    own_shop: Callable[..., Shop], tmp_path: Path
) -> None:
    """Customers go on buying during it, and until the databases are gone."""
    shop = own_shop()
    customers = Customers(shop, shop.product(inventory=10_000), count=4)
    memory = customers.memory
    customers.start()
    try:
        eventually(lambda: len(memory.paid) >= 20)
        orders, paid = set(memory.orders), set(memory.paid)
        _run(shop, "backup", tmp_path / "b")
        eventually(lambda: len(memory.paid) > len(paid) + 5)
    finally:
        customers.stop()
    _stop(shop)
    _lose(shop)
    _run(shop, "restore", tmp_path / "b")
    shop.start_shop()

    def settled() -> bool:
        sagas = shop.rows(
            "payments", "SELECT 1 FROM saga WHERE status IN ('running', 'compensating')"
        )
        unsent = shop.rows("notifications", "SELECT 1 FROM notifications WHERE status <> 'sent'")
        return not sagas and not unsent

    eventually(settled, within=QUIESCE)
    statuses = dict(shop.rows("orders", "SELECT id, status FROM orders"))
    assert orders <= statuses.keys()
    assert {statuses[order] for order in paid} <= {"confirmed"}
    captured = Counter(e["reference"] for e in shop.ledger() if e["kind"] == "capture")
    assert set(captured.values()) == {1}
    # What the shop does not know of any more is what came after the backup: the audit names it.
    known = {row[0] for row in shop.rows("payments", "SELECT id FROM payments")}
    lost = captured.keys() - known
    _, told = shop.audit(limit=0.0, patience=1.0)
    assert lost
    assert "is the provider's alone" in told
    # What was over at that instant is not told twice; a mail on its way then has the same id again.
    told_as = defaultdict(set)
    for mail in shop.mails():
        told_as[mail["subject"]].add(mail["message_id"])
    assert {len(told_as[f"Your order {order} is confirmed"]) for order in paid} == {1}
