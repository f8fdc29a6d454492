"""Scenario 22: the database's primary dies under the shop, and its standby takes over."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from customers import Customers
from harness import eventually
from prodkit.testing.servers import PrivatePostgres
from servers import SERVICES, EnginesShop

#: The 50 writers are tests/integration/test_postgres_failover.py's; these are for the shop's sums.
CUSTOMERS = 8
#: Seconds: until sales go on, and until all that was under way has settled.
RESUME, QUIESCE = 30.0, 60.0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_22_the_shop_outlives_its_primary_and_keeps_every_acknowledged_order(
    tmp_path: Path,
) -> None:
    many = {"max_connections": "300"}
    with (
        PrivatePostgres(settings=many) as primary,
        PrivatePostgres(settings=many, standby_of=primary) as standby,
    ):
        for service in SERVICES:
            primary.ask(f"CREATE DATABASE shop_{service}")
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        url = f"postgresql://postgres@{hosts}/shop_{{service}}"
        # Who was refused while nobody was primary never comes back to pay.
        shop = EnginesShop(tmp_path, database_url=url, reservation_lifetime=15)
        try:
            _fail_over(shop, primary, standby)
        finally:
            shop.close()


def _fail_over(shop: EnginesShop, primary: PrivatePostgres, standby: PrivatePostgres) -> None:
    shop.start()
    assert shop.shop is not None
    process = shop.shop.pid
    customers = Customers(shop, shop.product(inventory=100_000), count=CUSTOMERS)
    memory = customers.memory
    customers.start()
    try:
        eventually(lambda: len(memory.paid) >= 30, within=180.0)
        primary.kill()
        killed, orders, paid = time.monotonic(), set(memory.orders), set(memory.paid)
        standby.promote()
        promoted = time.monotonic()
        eventually(lambda: len(memory.orders) > len(orders) + 20, within=180.0, every=0.02)
        resumed = time.monotonic()
    finally:
        customers.stop()
    code, told = shop.audit(patience=QUIESCE)
    statuses = dict(shop.rows("orders", "SELECT id, status FROM orders"))
    lost = memory.orders - statuses.keys()
    print(
        f"\n22 failover of the shop: {len(orders)} orders acknowledged before the kill and"
        f" {len(memory.orders) - len(orders)} after it, {len(lost)} lost; promoted after"
        f" {promoted - killed:.1f} s, 20 more orders after {resumed - killed:.1f} s;"
        f" answers {dict(memory.answers)}\n{told}"
    )
    assert not lost
    assert {statuses[order] for order in paid} == {"confirmed"}
    assert code == 0
    assert not memory.odd
    assert resumed - killed <= RESUME * 5
    assert shop.shop is not None
    assert shop.shop.pid == process
    assert shop.shop.running()
