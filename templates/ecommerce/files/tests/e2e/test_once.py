"""Acceptance 3: what is repeated happens once, and what is scarce is sold once."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2
from harness import CARD, Shop, eventually


def test_08_one_order_for_a_hundred_requests(shop: Shop) -> None:
    customer, product = shop.customer(), shop.product(inventory=100)
    body = shop.order_body(product, 2)
    headers = customer | {"idempotency-key": f'"{secrets.token_hex(8)}"'}
    answers = at_once(shop, 100, "/api/v1/orders", body, headers)

    kept = one_of(answers)
    replay = shop.api.post("/api/v1/orders", json=body, headers=headers)
    assert (replay.status_code, replay.content) == (201, kept)
    assert len(shop.api.get("/api/v1/orders", headers=customer).json()["orders"]) == 1
    assert inventory(shop, product) == 98


def test_08_one_charge_for_a_hundred_payments(shop: Shop) -> None:
    customer, product = shop.customer(), shop.product()
    order = shop.place(customer, product)
    body = {"order_id": order["id"], "payment_method": "credit_card", "payment_details": CARD}
    headers = customer | {"idempotency-key": secrets.token_hex(8)}
    answers = at_once(shop, 100, "/api/v1/payments", body, headers)

    kept = one_of(answers)
    replay = shop.api.post("/api/v1/payments", json=body, headers=headers)
    assert (replay.status_code, replay.content) == (201, kept)
    assert charges(shop, json.loads(kept)["id"]) == 1
    assert shop.order(customer, order["id"])["status"] == "confirmed"


def test_08_one_order_one_reservation_one_charge_for_a_hundred_checkouts(shop: Shop) -> None:
    customer, product = shop.customer(), shop.product(inventory=100)
    body = shop.order_body(product) | {"payment_method": "credit_card", "payment_details": CARD}
    headers = customer | {"idempotency-key": secrets.token_hex(8)}
    answers = at_once(shop, 100, "/api/v1/checkout", body, headers)

    kept = json.loads(one_of(answers))
    replay = shop.api.post("/api/v1/checkout", json=body, headers=headers)
    assert replay.content == one_of(answers)
    (order,) = shop.api.get("/api/v1/orders", headers=customer).json()["orders"]
    assert order["id"] == kept["order"]["id"]
    assert charges(shop, order["payment_id"]) == 1
    assert inventory(shop, product) == 99


def test_10_what_a_key_stands_for(shop: Shop) -> None:
    customer, other, product = shop.customer(), shop.customer(), shop.product()
    body = shop.order_body(product)
    key = {"idempotency-key": secrets.token_hex(8)}

    def place(who: dict[str, str], **changes: object) -> httpx2.Response:
        return shop.api.post("/api/v1/orders", json=body | changes, headers=who | key)

    first = place(customer)
    assert first.status_code == 201
    changed = place(customer, shipping_method="express")
    assert (changed.status_code, changed.json()["reason"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    # Somebody else's key of the same name is another key.
    theirs = place(other)
    assert (theirs.status_code, theirs.json()["id"] != first.json()["id"]) == (201, True)
    # A refusal is not kept: what was wrong may be put right under the same key.
    key = {"idempotency-key": secrets.token_hex(8)}
    assert place(customer, items=[]).status_code == 400
    assert place(customer).status_code == 201
    for wrong in ("k" * 256, '""', ""):
        key = {"idempotency-key": wrong}
        answer = place(customer)
        assert answer.status_code == 400, wrong
        assert answer.json()["reason"].startswith("IDEMPOTENCY_KEY_"), answer.text
    key = {"idempotency-key": "k" * 255}
    assert place(customer).status_code == 201


def test_01_two_hundred_buyers_for_fifty_units(shop: Shop) -> None:
    product, buyers = shop.product(inventory=50), [shop.customer() for _ in range(8)]
    body = shop.order_body(product)

    def buy(number: int) -> int:
        answer = shop.api.post("/api/v1/orders", json=body, headers=buyers[number % len(buyers)])
        assert answer.status_code == 201 or answer.json()["reason"] == "OUT_OF_STOCK", answer.text
        return answer.status_code

    with ThreadPoolExecutor(40) as threads:
        statuses = Counter(threads.map(buy, range(200)))
    assert statuses == {201: 50, 409: 150}
    assert inventory(shop, product) == 0
    orders = [
        order
        for buyer in buyers
        for order in shop.api.get("/api/v1/orders?page_size=100", headers=buyer).json()["orders"]
    ]
    assert len(orders) == 50
    # What is cancelled can be had again.
    answer = shop.api.post(f"/api/v1/orders/{orders[0]['id']}:cancel", headers=buyers[0])
    assert answer.status_code == 200, answer.text
    eventually(lambda: inventory(shop, product) == 1)


def at_once(
    shop: Shop, count: int, path: str, body: object, headers: dict[str, str]
) -> list[httpx2.Response]:
    with ThreadPoolExecutor(count) as threads:
        return list(
            threads.map(lambda _: shop.api.post(path, json=body, headers=headers), range(count))
        )


def one_of(answers: list[httpx2.Response]) -> bytes:
    """Return the body of those that were answered; the others were told to come back."""
    done = [answer for answer in answers if answer.status_code == 201]
    for answer in answers:
        if answer.status_code != 201:
            refusal = (answer.status_code, answer.json()["reason"])
            assert refusal == (409, "IDEMPOTENCY_KEY_IN_USE")
            assert int(answer.headers["retry-after"]) >= 1
    assert len({answer.content for answer in done}) == 1
    return done[0].content


def charges(shop: Shop, payment: str) -> int:
    return len([e for e in shop.ledger() if (e["kind"], e["reference"]) == ("capture", payment)])


def inventory(shop: Shop, product: str) -> int:
    return shop.api.get(f"/api/v1/products/{product}").json()["inventory"]
