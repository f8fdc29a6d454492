"""Carts and orders over HTTP: from the first line in a cart to the parcel at the door."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from harness import ADDRESS, CARD, Shop, eventually


@pytest.fixture
def customer(shop: Shop) -> dict[str, str]:
    return shop.customer()


@pytest.fixture
def staff(shop: Shop) -> dict[str, str]:
    return shop.login("staff@example.com")


def act(shop: Shop, who: dict[str, str], order: str, verb: str, status: int = 200) -> Any:
    answer = shop.api.post(f"/api/v1/orders/{order}:{verb}", headers=who)
    assert answer.status_code == status, answer.text
    return answer.json()


def inventory(shop: Shop, product: str) -> int:
    return shop.api.get(f"/api/v1/products/{product}").json()["inventory"]


def test_a_cart_is_filled_and_bought(shop: Shop, customer: dict[str, str]) -> None:
    lamp, chair = shop.product(price="19.90"), shop.product(price="49.99")

    def put(product: str, quantity: int) -> Any:
        path = f"/api/v1/carts/me/items/{product}"
        return shop.api.put(path, json={"quantity": quantity}, headers=customer)

    assert shop.api.get("/api/v1/carts/me", headers=customer).json()["items"] == []
    empty = {"shipping_address": ADDRESS, "payment_method": "credit_card", "payment_details": CARD}
    answer = shop.api.post("/api/v1/checkout", json=empty, headers=customer)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/items")

    put(lamp, 3)
    put(chair, 1)
    cart = put(lamp, 2).json()
    assert [(item["product_id"], item["quantity"]) for item in cart["items"]] == [
        (lamp, 2),
        (chair, 1),
    ]
    assert (cart["subtotal"], cart["currency"]) == ("89.79", "USD")
    assert put("product-nowhere", 1).json()["errors"][0]["pointer"] == "/product_id"
    assert put(lamp, -1).json()["errors"][0]["pointer"] == "/quantity"

    answer = shop.api.post("/api/v1/checkout", json=empty, headers=customer)
    assert answer.status_code == 201, answer.text
    bought = answer.json()
    assert (bought["payment_status"], bought["order"]["status"]) == ("paid", "confirmed")
    assert bought["order"]["subtotal"] == "89.79"
    assert shop.api.get("/api/v1/carts/me", headers=customer).json()["items"] == []

    put(lamp, 1)
    assert put(lamp, 0).json()["items"] == []
    put(chair, 1)
    assert shop.api.delete("/api/v1/carts/me", headers=customer).json()["items"] == []


@pytest.mark.parametrize(
    ("changes", "sums"),
    [
        ({}, ("30.00", "0.00", "6.40", "2.18", "38.58")),
        ({"discount_code": "WELCOME10"}, ("30.00", "3.00", "6.40", "1.96", "35.36")),
        ({"shipping_method": "express"}, ("30.00", "0.00", "17.90", "2.18", "50.08")),
        (
            {"shipping_address": ADDRESS | {"state": "", "country": "DE"}},
            ("30.00", "0.00", "6.40", "5.70", "42.10"),
        ),
    ],
)
def test_what_an_order_costs(
    shop: Shop, customer: dict[str, str], changes: dict[str, Any], sums: tuple[str, ...]
) -> None:
    body = shop.order_body(shop.product(price="10.00"), 3) | changes
    answer = shop.api.post("/api/v1/orders", json=body, headers=customer)
    assert answer.status_code == 201, answer.text
    order = answer.json()
    names = ("subtotal", "discount", "shipping", "tax", "total_amount")
    assert tuple(order[name] for name in names) == sums


def test_a_code_that_nobody_gave_out(shop: Shop, customer: dict[str, str]) -> None:
    body = shop.order_body(shop.product()) | {"discount_code": "FREE"}
    answer = shop.api.post("/api/v1/orders", json=body, headers=customer)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/discount_code"


def test_lines_of_one_product_are_one_line(shop: Shop, customer: dict[str, str]) -> None:
    product = shop.product(inventory=5)
    line = {"product_id": product, "quantity": 2}
    body = {"items": [line, line], "shipping_address": ADDRESS}
    answer = shop.api.post("/api/v1/orders", json=body, headers=customer)
    assert [item["quantity"] for item in answer.json()["items"]] == [4]
    assert inventory(shop, product) == 1


def test_an_order_is_shipped_and_delivered(
    shop: Shop, customer: dict[str, str], staff: dict[str, str]
) -> None:
    order = shop.place(customer, shop.product())["id"]
    assert act(shop, staff, order, "ship", 409)["reason"] == "ORDER_STATE"
    assert shop.pay(customer, order).status_code == 201
    act(shop, customer, order, "ship", 403)
    assert act(shop, staff, order, "ship")["status"] == "shipped"
    assert act(shop, staff, order, "ship")["status"] == "shipped"  # told again
    assert act(shop, customer, order, "cancel", 409)["reason"] == "ORDER_STATE"
    assert act(shop, staff, order, "deliver")["status"] == "delivered"
    act(shop, staff, "order-nowhere", "deliver", 404)

    def told() -> set[str]:
        answer = shop.api.get("/api/v1/notifications", headers=customer)
        return {n["event_type"] for n in answer.json()["notifications"] if n["status"] == "sent"}

    eventually(lambda: told() >= {"order.confirmed", "order.shipped", "order.delivered"})


def test_cancelling_gives_stock_and_money_back(
    shop: Shop, customer: dict[str, str], staff: dict[str, str]
) -> None:
    product = shop.product(inventory=5)
    unpaid, paid = (shop.place(customer, product)["id"] for _ in range(2))
    payment = shop.pay(customer, paid).json()["id"]
    assert inventory(shop, product) == 3
    for order in (unpaid, paid):
        assert act(shop, customer, order, "cancel")["status"] == "cancelled"
    eventually(lambda: inventory(shop, product) == 5)
    eventually(lambda: shop.order(customer, paid)["payment_status"] == "refunded")
    path = f"/api/v1/payments/{payment}"
    assert shop.api.get(path, headers=customer).json()["status"] == "refunded"
    kinds = [entry["kind"] for entry in shop.ledger() if entry["reference"] == payment]
    assert sorted(kinds) == ["capture", "refund"]
    assert shop.pay(customer, unpaid).status_code == 409


def test_orders_are_listed_newest_first(
    shop: Shop, customer: dict[str, str], staff: dict[str, str]
) -> None:
    product = shop.product()
    made = [shop.place(customer, product) for _ in range(3)]
    first = shop.api.get("/api/v1/orders?page_size=2", headers=customer).json()
    token = first["next_page_token"]
    second = shop.api.get(
        "/api/v1/orders", params={"page_size": 2, "page_token": token}, headers=customer
    ).json()
    ids = [order["id"] for order in first["orders"] + second["orders"]]
    assert ids == [order["id"] for order in made[::-1]]
    assert second["next_page_token"] == ""
    # Staff may look at anybody's; customers at their own.
    mine = {"user_id": made[0]["user_id"]}
    seen = shop.api.get("/api/v1/orders", params=mine, headers=staff).json()["orders"]
    assert len(seen) == 3
    answer = shop.api.get("/api/v1/orders", params=mine, headers=shop.customer())
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("text/event-stream", "text/event-stream"), ("*/*", "application/x-ndjson")],
)
def test_an_order_is_watched(
    shop: Shop, customer: dict[str, str], staff: dict[str, str], accept: str, kind: str
) -> None:
    order = shop.place(customer, shop.product())["id"]
    seen: list[dict[str, Any]] = []

    def live() -> None:
        for step in (lambda: shop.pay(customer, order), ship, deliver):
            before = len(seen)
            eventually(lambda before=before: len(seen) >= max(before, 1), every=0.02)
            step()

    def ship() -> None:
        eventually(lambda: seen[-1]["status"] == "confirmed", every=0.02)
        act(shop, staff, order, "ship")

    def deliver() -> None:
        eventually(lambda: seen[-1]["status"] == "shipped", every=0.02)
        act(shop, staff, order, "deliver")

    life = threading.Thread(target=live)
    headers = customer | {"accept": accept}
    began = time.monotonic()
    with shop.api.stream("GET", f"/api/v1/orders/{order}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == kind
        life.start()
        for line in answer.iter_lines():
            if kind == "application/x-ndjson" and line.strip():
                seen.append(json.loads(line))
            elif line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")))
    life.join()
    # The stream ends by itself with the order's last state.
    statuses = [order["status"] for order in seen]
    assert (statuses[0], statuses[-1]) == ("pending", "delivered")
    assert {"confirmed", "shipped"} <= set(statuses)
    versions = [int(order["version"]) for order in seen]
    assert versions == sorted(set(versions))
    assert time.monotonic() - began < 15


def test_a_watcher_who_leaves_leaves_nothing(shop: Shop, customer: dict[str, str]) -> None:
    order = shop.place(customer, shop.product())["id"]
    for _ in range(3):
        path = f"/api/v1/orders/{order}/events"
        with shop.api.stream("GET", path, headers=customer) as answer:
            assert next(answer.iter_lines())
    assert act(shop, customer, order, "cancel")["status"] == "cancelled"
