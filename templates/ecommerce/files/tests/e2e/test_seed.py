"""The five tests that the shop was specified by, under their names."""

from __future__ import annotations

import json
import secrets
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from harness import MESHES, Shop, eventually

SERVICES = {"gateway", "users", "catalog", "orders", "payments", "notifications"}


def test_ecommerce_user_registration(shop: Shop) -> None:
    email = f"{secrets.token_hex(6)}@example.com"
    before = shop.metric("ecommerce_users_total", status="active")
    body = {"name": "Test User", "email": email, "password": "password123"}
    answer = shop.api.post("/api/v1/users", json=body)

    # User registration completed successfully
    assert answer.status_code == 201, answer.text
    user = answer.json()
    assert (user["name"], user["email"], user["status"]) == ("Test User", email, "active")
    assert user["roles"] == ["customer"]
    assert "password" not in answer.text
    headers = shop.login(email, "password123")
    assert shop.api.get("/api/v1/users/me", headers=headers).json() == user
    assert shop.api.post("/api/v1/users", json=body).status_code == 409

    # Metrics recorded correctly
    assert shop.metric("ecommerce_users_total", status="active") >= before + 1
    registered = {"method": "POST", "endpoint": "/api/v1/users"}
    assert shop.metric("http_requests_total", status="201", **registered) >= 1
    assert shop.metric("http_request_duration_seconds_count", status="409", **registered) >= 1

    # Event published to notification service
    (told,) = eventually(lambda: notifications(shop, headers))
    assert (told["event_type"], told["subject"]) == ("user.registered", "Welcome")
    (mail,) = [m for m in shop.mails() if m["recipient"] == email]
    assert "Hello Test User" in mail["body"]


def test_ecommerce_order_processing(shop: Shop) -> None:
    customer, product = shop.customer(), shop.product(inventory=10, price="1299.99")
    counted = {"status": "completed", "currency": "USD"}
    before = shop.metric("ecommerce_orders_total", **counted)

    # Order created successfully
    order = shop.place(customer, product, quantity=2)
    assert (order["status"], order["payment_status"]) == ("pending", "unpaid")
    assert (order["subtotal"], order["shipping"], order["tax"]) == ("2599.98", "0.00", "188.50")
    assert order["total_amount"] == "2788.48"

    # Payment processed
    paid = shop.pay(customer, order["id"])
    assert paid.status_code == 201, paid.text
    assert paid.json()["status"] == "captured"
    assert paid.json()["amount"] == "2788.48"
    assert shop.order(customer, order["id"])["status"] == "confirmed"
    (entry,) = [e for e in shop.ledger() if e["reference"] == paid.json()["id"]]
    assert (entry["kind"], entry["amount"]) == ("capture", "2788.48")
    assert shop.metric("ecommerce_orders_total", **counted) == before + 1

    # Inventory updated
    assert shop.api.get(f"/api/v1/products/{product}").json()["inventory"] == 8

    # Notification sent
    eventually(
        lambda: "order.confirmed" in [n["event_type"] for n in notifications(shop, customer)]
    )
    (mail,) = [m for m in shop.mails() if order["id"] in m["subject"]]
    assert "Total: 2788.48 USD" in mail["body"]


def test_ecommerce_circuit_breaker(shop: Shop) -> None:
    customer, product = shop.customer(), shop.product()
    opened = {"name": "provider", "state": "open"}
    before = shop.metric("circuit_breaker_transitions_total", **opened)
    shop.switch(down=True)
    try:
        # Circuit breaker activated on service failure
        orders = [shop.place(customer, product)["id"] for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda order: shop.pay(customer, order), orders))
        assert shop.metric("circuit_breaker_transitions_total", **opened) > before
        assert shop.metric("circuit_breaker_state", name="provider") > 0

        # Fallback response returned
        for answer in answers:
            assert answer.status_code == 201, answer.text
            assert answer.json()["status"] == "pending"
        assert shop.api.get("/api/v1/products").elapsed.total_seconds() < 1
    finally:
        shop.switch(down=False)
    # What was pending settles by itself once the provider is back.
    for order in orders:
        eventually(lambda order=order: shop.order(customer, order)["status"] == "confirmed")
    assert shop.metric("circuit_breaker_state", name="provider") == 0


def test_ecommerce_distributed_tracing(shop: Shop) -> None:
    customer, product = shop.customer(), shop.product()
    trace, root = secrets.token_hex(16), secrets.token_hex(8)
    answer = shop.checkout(customer, product, traceparent=f"00-{trace}-{root}-01")
    assert answer.status_code == 201, answer.text

    # Trace spans created across all services
    path = shop.folder / "spans.jsonl"
    eventually(lambda: {service(span) for span in spans(path, trace)} == SERVICES)
    eventually(lambda: any(s["name"].startswith("send") for s in spans(path, trace)))

    # Span relationships maintained correctly
    eventually(lambda: not orphans(spans(path, trace), root))
    found = spans(path, trace)
    by_id = {span["context"]["span_id"]: span for span in found}
    (first,) = [span for span in found if span["parent_id"] == f"0x{root}"]
    assert (service(first), first["name"]) == ("gateway", "POST /api/v1/checkout")
    callers = {
        (service(by_id[span["parent_id"]]), service(span))
        for span in found
        if span["parent_id"] in by_id
    }
    assert {
        ("gateway", "orders"),
        ("orders", "users"),
        ("orders", "catalog"),
        ("orders", "payments"),
        ("payments", "orders"),
        ("orders", "notifications"),
    } <= callers


@pytest.mark.parametrize("mesh", MESHES)
def test_ecommerce_graceful_shutdown(own_shop: Any, mesh: str) -> None:
    shop: Shop = own_shop(mesh=mesh, drain_delay=0.3)
    customer, product = shop.customer(), shop.product(inventory=50)
    orders = [shop.place(customer, product)["id"] for _ in range(8)]
    shop.switch(slow_seconds=0.4)
    with ThreadPoolExecutor(8) as threads:
        paying = [threads.submit(shop.pay, customer, order) for order in orders]
        eventually(lambda: all_begun(shop, customer, len(orders)))
        assert not any(future.done() for future in paying)
        shop.shop.signal(signal.SIGTERM)
        answers = [future.result() for future in paying]
    # Graceful shutdown completed without data loss
    assert shop.shop.wait() == 0
    assert [answer.status_code for answer in answers] == [201] * len(orders)
    with pytest.raises(httpx2.ConnectError):
        shop.api.get("/health")

    shop.switch(slow_seconds=0)
    shop.start_shop()
    for order in orders:
        eventually(lambda order=order: shop.order(customer, order)["status"] == "confirmed")
    assert sorted(entry["kind"] for entry in shop.ledger()) == ["capture"] * len(orders)
    eventually(lambda: confirmations(shop, orders) == sorted(orders))


def notifications(shop: Shop, headers: dict[str, str]) -> list[dict[str, Any]]:
    """Return what was sent to whoever `headers` sign in."""
    answer = shop.api.get("/api/v1/notifications", headers=headers)
    return [n for n in answer.json()["notifications"] if n["status"] == "sent"]


def confirmations(shop: Shop, orders: list[str]) -> list[str]:
    """Return the orders that mails confirm, as often as they do."""
    subjects = [m["subject"] for m in shop.mails() if m["subject"].endswith("is confirmed")]
    return sorted(order for order in orders for subject in subjects if order in subject)


def all_begun(shop: Shop, customer: dict[str, str], count: int) -> bool:
    found = shop.api.get("/api/v1/payments", headers=customer).json()["payments"]
    return len(found) == count


def spans(path: Path, trace: str) -> list[dict[str, Any]]:
    return [span for span in _lines(path) if span["context"]["trace_id"] == f"0x{trace}"]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    # The last line may be under way.
    for line in path.read_bytes().split(b"\n")[:-1]:
        yield json.loads(line)


def service(span: dict[str, Any]) -> str:
    return span["resource"]["attributes"]["service.name"]


def orphans(found: list[dict[str, Any]], root: str) -> list[str]:
    """Return the names of spans whose parent nobody exported."""
    known = {span["context"]["span_id"] for span in found} | {f"0x{root}"}
    return [span["name"] for span in found if span["parent_id"] not in known]
