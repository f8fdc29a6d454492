"""Scenarios 5 and 6: the provider dies, hangs or loses its answers; the shop goes on selling."""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx2
import pytest
from harness import Shop, eventually

TIMEOUT, PATIENCE = 1.0, 2.0
#: Seconds that a caller may wait: until a hanging provider is given up, and with the breaker open.
AT_FIRST, WITH_BREAKER_OPEN = TIMEOUT + PATIENCE + 1.0, 0.8
#: Calls that a hanging provider gets before the breaker has seen enough.
ENOUGH = 5


@contextmanager
def _switched(shop: Shop, **switches: Any) -> Any:
    shop.switch(**switches)
    yield
    shop.switch(**dict.fromkeys(switches, 0))


@contextmanager
def _stopped(shop: Shop) -> Any:
    assert shop.sandbox is not None
    shop.sandbox.signal(signal.SIGSTOP)
    yield
    shop.sandbox.signal(signal.SIGCONT)


@contextmanager
def _killed(shop: Shop) -> Any:
    assert shop.sandbox is not None
    shop.sandbox.kill()
    yield
    shop.start_sandbox()


OUTAGES: dict[str, Callable[[Shop], AbstractContextManager[Any]]] = {
    "down": lambda shop: _switched(shop, down=True),
    "hang": lambda shop: _switched(shop, hang=True),
    "slow": lambda shop: _switched(shop, slow_seconds=3),
    "stopped": _stopped,
    "killed": _killed,
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    shop = Shop(
        tmp_path_factory.mktemp("shop"), provider_timeout=TIMEOUT, payment_patience=PATIENCE
    )
    yield shop.start()
    shop.close()


@pytest.mark.parametrize("outage", OUTAGES)
def test_the_shop_outlives_its_provider(shop: Shop, outage: str) -> None:
    customer, product = shop.customer(), shop.product()
    eventually(lambda: shop.checkout(customer, product).json()["payment_status"] == "paid")
    usual = _median_of_reads(shop, product)
    orders, waits, opened = [], [], _openings(shop)
    with OUTAGES[outage](shop):
        for _ in range(ENOUGH):
            waits.append(_timed(orders, lambda: shop.checkout(customer, product)))
            order = shop.place(customer, product)
            waits.append(_timed(orders, lambda o=order: shop.pay(customer, o["id"])))
        during = _median_of_reads(shop, product)
        assert _openings(shop) > opened
    began = time.monotonic()
    eventually(lambda: _all_confirmed(shop, customer, orders))
    settled = time.monotonic() - began
    print(f"\n{outage}: waits {[round(w, 2) for w in waits]} s, settled after {settled:.1f} s,")
    print(f"reads {usual * 1000:.1f} -> {during * 1000:.1f} ms")
    assert max(waits) < AT_FIRST
    # A probe may hang once more; whoever is no probe does not wait.
    assert statistics.median(waits[ENOUGH:]) < WITH_BREAKER_OPEN
    assert during < 5 * usual + 0.02


def test_a_lost_reply_takes_the_money_once(shop: Shop) -> None:
    customer, product = shop.customer(), shop.product()
    eventually(lambda: shop.checkout(customer, product).json()["payment_status"] == "paid")
    order = shop.place(customer, product)
    known = _count(shop, "tokens")
    # The provider thinks for a while before each work: time to lose the answer of our choice.
    with _switched(shop, slow_seconds=0.3), ThreadPoolExecutor() as pool:
        paying = pool.submit(shop.pay, customer, order["id"])
        eventually(lambda: _count(shop, "tokens") > known, every=0.005)
        shop.switch(lose_replies=1)  # of the authorization
        eventually(lambda: _status(shop, order["id"]) == [("authorized",)], every=0.005)
        assert _lost(shop)
        shop.switch(lose_replies=1)  # of the capture
        answer = paying.result()
        eventually(lambda: _all_confirmed(shop, customer, [order["id"]]))
        assert _lost(shop)
    assert answer.status_code == 201, answer.text
    payment = answer.json()["id"]
    moved = [e["kind"] for e in shop.ledger() if e["reference"] == payment]
    assert moved == ["capture"]
    [(keys,)] = shop.rows(
        "sandbox",
        f"SELECT count(*) FROM replies WHERE key LIKE '{payment}%'",
    )
    assert keys == 2, "one key for the authorization, one for the capture"
    code, told = shop.audit(patience=20)
    print(f"\n{told}")
    assert code == 0


def _count(shop: Shop, table: str) -> int:
    return shop.rows("sandbox", f"SELECT count(*) FROM {table}")[0][0]


def _status(shop: Shop, order: str) -> list[tuple[Any, ...]]:
    query = f"SELECT status FROM payments WHERE order_id = '{order}'"
    return shop.rows("payments", query)


def _lost(shop: Shop) -> bool:
    return shop.sandbox_api.get("/v1/switches").json()["lose_replies"] == 0


def _timed(orders: list[str], ask: Callable[[], httpx2.Response]) -> float:
    """Buy while the provider is away: return how long the answer `pending` took."""
    began = time.monotonic()
    answer = ask()
    took = time.monotonic() - began
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert told.get("payment_status", told.get("status")) == "pending", answer.text
    orders.append(told["order"]["id"] if "order" in told else told["order_id"])
    return took


def _median_of_reads(shop: Shop, product: str) -> float:
    took = []
    for _ in range(40):
        began = time.monotonic()
        assert shop.api.get(f"/api/v1/products/{product}").status_code == 200
        took.append(time.monotonic() - began)
    return statistics.median(took)


def _openings(shop: Shop) -> float:
    """Return how often the provider's breaker has opened."""
    name = 'circuit_breaker_transitions_total{name="provider",state="open"} '
    lines = shop.api.get("/metrics").text.splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def _all_confirmed(shop: Shop, customer: dict[str, str], orders: list[str]) -> bool:
    return all(shop.order(customer, order)["status"] == "confirmed" for order in orders)
