"""The shop over PostgreSQL, Redis and RabbitMQ: what only several processes can show."""

from __future__ import annotations

import json
import signal
import threading

import httpx2
import pytest
from harness import SHOPS, Shop, eventually
from servers import EnginesShop, Fleet

#: The process of the fleet that another one can stand in for, but for the mails.
SPARE = 2


@pytest.mark.parametrize("shop", SHOPS[2:], indirect=True)
def test_the_books_balance_and_the_audit_sees_where_they_do_not(shop: EnginesShop) -> None:
    customer, product = shop.customer(), shop.product()
    assert shop.checkout(customer, product).status_code == 201
    declined = shop.place(customer, product)
    assert shop.pay(customer, declined["id"], card_number="4000000000000002").status_code == 402

    code, told = shop.audit(limit=900, patience=60)
    assert code == 0, told
    assert [line.split()[1] for line in told.splitlines()] == ["ok"] * 7
    shop.execute("catalog", f"UPDATE products SET sold = sold + 1 WHERE id = '{product}'")
    code, told = shop.audit(limit=900)
    shop.execute("catalog", f"UPDATE products SET sold = sold - 1 WHERE id = '{product}'")
    assert code == 1
    assert f"product {product}: 2 sold, 1 by its orders" in told


@pytest.mark.parametrize("shop", SHOPS[3:], indirect=True)
def test_of_two_processes_either_may_go(shop: Fleet) -> None:
    customer, product = shop.customer(), shop.product()

    def drained() -> None:
        """Order while one drains: nobody notices."""
        process = shop.processes[SPARE]
        process.signal(signal.SIGTERM)
        ordered = 0
        while process.running() or not ordered:
            shop.place(customer, product)
            ordered += 1
        assert process.wait() == 0

    def killed() -> None:
        """Buy once one is dead: the other is there."""
        shop.processes[SPARE].kill()
        eventually(lambda: _sold(shop, customer, product), within=60)

    for end in (drained, killed):
        end()
        shop.processes[SPARE] = shop.start_process(SPARE)
        eventually(lambda: _served_by(shop, SPARE, customer), within=120)
    code, told = shop.audit(limit=900, patience=60)
    assert code == 0, told


def _sold(shop: Shop, customer: dict[str, str], product: str) -> bool:
    status = shop.checkout(customer, product).status_code
    assert status in {201, 503, 504}
    return status == 201


def _served_by(shop: Fleet, number: int, customer: dict[str, str]) -> bool:
    """Say whether calls reach a process, as its own metrics tell."""
    shop.api.get("/api/v1/orders", headers=customer).raise_for_status()
    try:
        return "OrderService/ListOrders" in shop.api.get(shop.metrics_urls[number]).text
    except httpx2.TransportError:
        return False


@pytest.mark.parametrize("shop", SHOPS[3:], indirect=True)
def test_watchers_hear_of_what_another_process_did(shop: Fleet) -> None:
    customer = shop.customer()
    order = shop.place(customer, shop.product())["id"]
    seen: dict[int, list[str]] = {number: [] for number in range(4)}

    def watch(number: int) -> None:
        headers = customer | {"accept": "application/x-ndjson"}
        path = f"/api/v1/orders/{order}/events"
        with shop.api.stream("GET", path, headers=headers) as answer:
            for line in answer.iter_lines():
                if line.strip():
                    seen[number].append(json.loads(line)["status"])

    watchers = [threading.Thread(target=watch, args=(number,)) for number in seen]
    for each in watchers:
        each.start()
    eventually(lambda: all(seen.values()))
    assert shop.api.post(f"/api/v1/orders/{order}:cancel", headers=customer).status_code == 200
    for each in watchers:
        each.join(30)
    assert [states[-1] for states in seen.values()] == ["cancelled"] * 4
