"""What the API refuses: the right status, a problem that names the field, and never a 500."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from harness import ADDRESS, CARD, Shop


def order(**changes: Any) -> dict[str, Any]:
    item = {"product_id": "product-nowhere", "quantity": 1}
    return {"items": [item], "shipping_address": ADDRESS, **changes}


def items(**changes: Any) -> str:
    return json.dumps(order(items=[{"product_id": "product-nowhere", "quantity": 1, **changes}]))


def raw(field: str, text: str) -> str:
    """Return an order with JSON of one's own for one field."""
    return json.dumps(order(**{field: "@"})).replace('"@"', text)


#: A body that is wrong, and the pointer that must say where.
WRONG = {
    "negative quantity": (items(quantity=-1), "/items/0/quantity"),
    "no quantity": (items(quantity=0), "/items/0/quantity"),
    "2^63": (items(quantity=2**63), "/items/0/quantity"),
    "a fraction": (items(quantity=1.5), "/items/0/quantity"),
    "a number as text": (items(quantity="many"), "/items/0/quantity"),
    "unknown product": (items(), "/items/0/product_id"),
    "wrong type": (items(product_id=7), "/items/0/product_id"),
    "unknown field": (items(price="0.01"), "/items/0/price"),
    "a status of one's own": (json.dumps(order(status="delivered")), "/status"),
    "not a list": (json.dumps(order(items={})), "/items"),
    "nothing": (json.dumps(order(items=[])), "/items"),
    "no address": (json.dumps({"items": order()["items"]}), "/shipping_address"),
    "half an address": (
        json.dumps(order(shipping_address={**ADDRESS, "city": ""})),
        "/shipping_address/city",
    ),
    "shipping by rocket": (json.dumps(order(shipping_method="rocket")), "/shipping_method"),
    "NaN": (items(quantity="@").replace('"@"', "NaN"), "/items/0/quantity"),
    "1e1000000": (items(quantity="@").replace('"@"', "1e1000000"), "/items/0/quantity"),
    "5,000 digits": (items(quantity="@").replace('"@"', "9" * 5000), "/items/0/quantity"),
    "duplicate keys": ('{"items": [], "items": []}', "/items"),
    "cut short": ('{"items":', "/items"),
    "deep nesting": (raw("items", "[" * 5000 + "]" * 5000), "/items" + "/0" * 63),
    "a list": ("[]", ""),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_order_is_told_where(shop: Shop, wrong: str) -> None:
    body, pointer = WRONG[wrong]
    answer = post(shop, "/api/v1/orders", buyer(shop), body)
    problem = refused(answer, 400)
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert answer.elapsed.total_seconds() < 2


def test_no_json(shop: Shop) -> None:
    assert refused(post(shop, "/api/v1/orders", buyer(shop), "{nonsense"), 400)["errors"]
    refused(post(shop, "/api/v1/orders", buyer(shop), "\xff\xfe".encode("latin-1")), 400)
    form = {**buyer(shop), "content-type": "application/x-www-form-urlencoded"}
    refused(post(shop, "/api/v1/orders", form, "items=1"), 415)


def test_bodies_are_bounded(shop: Shop) -> None:
    two_mebibytes = b'{"items": "' + b"x" * (2 << 20) + b'"}'
    refused(post(shop, "/api/v1/orders", buyer(shop), two_mebibytes), 413)

    def chunks() -> Any:
        for _ in range(32):
            yield b" " * (1 << 16)

    refused(post(shop, "/api/v1/orders", buyer(shop), chunks()), 413)


def test_who_is_not_known_or_not_meant(shop: Shop) -> None:
    refused(shop.api.post("/api/v1/orders", json=order()), 401)
    mine = shop.place(buyer(shop), shop.product())
    other = shop.customer()
    for path in (f"/api/v1/orders/{mine['id']}", f"/api/v1/orders/{mine['id']}/events"):
        assert refused(shop.api.get(path, headers=other), 404)["reason"] == "ORDER_NOT_FOUND"
    refused(shop.pay(other, mine["id"]), 404)
    body = shop.order_body(shop.product()) | {"user_id": mine["user_id"]}
    answer = shop.api.post("/api/v1/orders", json=body, headers=other)
    assert refused(answer, 403)["reason"] == "FOREIGN_USER"
    refused(shop.api.get("/api/v1/nothing/here"), 404)
    assert refused(shop.api.put("/api/v1/orders", headers=other), 405)["status"] == 405


def test_more_than_there_is(shop: Shop) -> None:
    product = shop.product(inventory=2)
    answer = shop.api.post("/api/v1/orders", json=shop.order_body(product, 3), headers=buyer(shop))
    problem = refused(answer, 409)
    assert problem["reason"] == "OUT_OF_STOCK"
    assert product in problem["detail"]
    assert shop.api.get(f"/api/v1/products/{product}").json()["inventory"] == 2


@pytest.mark.parametrize(
    ("details", "pointer"),
    [
        ({"card_number": "4111111111111112"}, "/payment_details/card_number"),
        ({"card_number": "abc"}, "/payment_details/card_number"),
        ({"cvv": ""}, "/payment_details/cvv"),
        ({"expiry_month": "13"}, "/payment_details/expiry_month"),
    ],
)
def test_a_card_that_cannot_be(shop: Shop, details: dict[str, str], pointer: str) -> None:
    problem = refused(shop.pay(buyer(shop), "order-1", **details), 400)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert details.get("card_number", "4111") not in json.dumps(problem)


def test_a_decline_is_402_and_the_order_can_be_paid_otherwise(shop: Shop) -> None:
    customer = buyer(shop)
    bought = shop.place(customer, shop.product())
    for card in ("4000000000000002", "4000000000009995"):
        problem = refused(shop.pay(customer, bought["id"], card_number=card), 402)
        assert problem["reason"] == "PAYMENT_DECLINED"
    assert shop.order(customer, bought["id"])["status"] == "pending"
    assert shop.pay(customer, bought["id"]).status_code == 201

    # There is one payment for an order.
    again = refused(shop.pay(customer, bought["id"]), 409)
    assert again["reason"] in ("ORDER_STATE", "PAYMENT_EXISTS")


def test_a_declined_checkout_leaves_nothing_behind(shop: Shop) -> None:
    customer, product = buyer(shop), shop.product(inventory=5)
    body = shop.order_body(product) | {
        "payment_method": "credit_card",
        "payment_details": CARD | {"card_number": "4000000000000002"},
    }
    answer = shop.api.post("/api/v1/checkout", json=body, headers=customer)
    assert refused(answer, 402)["reason"] == "PAYMENT_DECLINED"
    newest = shop.api.get("/api/v1/orders", headers=customer).json()["orders"][0]
    assert (newest["status"], newest["items"][0]["product_id"]) == ("cancelled", product)


def buyer(shop: Shop) -> dict[str, str]:
    """Return the demo's customer, whose past orders do not matter here."""
    return shop.login("customer@example.com")


def post(shop: Shop, path: str, headers: dict[str, str], content: Any) -> httpx2.Response:
    headers = {"content-type": "application/json"} | headers
    return shop.api.post(path, content=content, headers=headers)


def refused(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """Return the problem that an answer must be."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    return problem
