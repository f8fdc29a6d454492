"""Scenario 4: whatever kill -9 interrupts, every acknowledged order ends, and the books balance."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
from customers import Customers
from harness import Shop, eventually

STOCK = 100_000
#: "Quiesce": seconds after the last fault in which everything must have settled.
QUIESCE = 30.0


@pytest.mark.timeout(300)  # ten times the start of a shop, on a busy machine
def test_10_kills(make_shop: Callable[..., Shop]) -> None:
    _survives(make_shop(reservation_lifetime=15), kills=10)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_200_kills(make_shop: Callable[..., Shop]) -> None:
    _survives(make_shop(reservation_lifetime=15), kills=200)


def _survives(shop: Shop, *, kills: int) -> None:
    began = time.monotonic()
    shop.start_sandbox()
    shop.start_shop()
    product = shop.product(inventory=STOCK)
    customers = Customers(shop, product, count=12)
    customers.start()
    try:
        for number in range(kills):
            if number % 5 == 0:  # after somebody was told that the payment is made
                paid = len(customers.memory.paid)
                eventually(lambda paid=paid: len(customers.memory.paid) > paid, within=60)
            else:
                _await_moment(shop, between=number % 2 == 1)
            assert shop.shop is not None
            shop.shop.kill()
            shop.start_shop()
        time.sleep(1.0)
    finally:
        customers.stop()
    killed = time.monotonic()

    memory = customers.memory
    code, told = shop.audit(patience=QUIESCE)
    settled = time.monotonic() - killed
    print(f"\n{kills} kills in {killed - began:.0f} s, settled {settled:.1f} s after the last")
    print(f"{len(memory.orders)} orders acknowledged, answers {dict(memory.answers)}\n{told}")
    assert code == 0
    assert not memory.odd
    statuses = dict(shop.rows("orders", "SELECT id, status FROM orders"))
    assert memory.orders <= statuses.keys()
    assert set(statuses.values()) <= {"confirmed", "cancelled"}
    assert len(memory.paid) >= kills / 5
    assert all(statuses[order] == "confirmed" for order in memory.paid)
    assert all(len(results) == 1 for results in memory.under_key.values())
    [(counted,)] = shop.rows(
        "catalog",
        f"SELECT available + reserved + sold FROM products WHERE id = '{product}'",
    )
    assert counted == STOCK


def _await_moment(shop: Shop, *, between: bool) -> None:
    """Wait for a random moment, or for one between a payment's capture and its confirmation."""
    time.sleep(random.uniform(0.05, 0.6))
    if between:
        before = _captures(shop)
        eventually(lambda: _captures(shop) > before, every=0.001)


def _captures(shop: Shop) -> int:
    [(count,)] = shop.rows("sandbox", "SELECT count(*) FROM ledger WHERE kind = 'capture'")
    return count
