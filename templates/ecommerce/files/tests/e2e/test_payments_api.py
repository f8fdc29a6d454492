"""Payments over HTTP: every means, refunds, and what the provider reports by itself."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

import httpx2
import pytest
from harness import Shop, eventually


@pytest.fixture
def customer(shop: Shop) -> dict[str, str]:
    return shop.customer()


@pytest.fixture
def staff(shop: Shop) -> dict[str, str]:
    return shop.login("staff@example.com")


def pay(shop: Shop, who: dict[str, str], order: str, method: str, **details: str) -> Any:
    body = {"order_id": order, "payment_method": method, "payment_details": details}
    return shop.api.post("/api/v1/payments", json=body, headers=who)


def payment(shop: Shop, who: dict[str, str], payment_id: str) -> dict[str, Any]:
    answer = shop.api.get(f"/api/v1/payments/{payment_id}", headers=who)
    assert answer.status_code == 200, answer.text
    return answer.json()


def kinds(shop: Shop, payment_id: str) -> list[str]:
    return [entry["kind"] for entry in shop.ledger() if entry["reference"] == payment_id]


def test_a_card_leaves_its_last_digits_alone(shop: Shop, customer: dict[str, str]) -> None:
    order = shop.place(customer, shop.product())
    answer = shop.pay(customer, order["id"])
    paid = answer.json()
    assert (paid["card_last4"], paid["amount"]) == ("1111", order["total_amount"])
    assert paid["transaction_id"]
    assert "4111111111111111" not in answer.text
    assert payment(shop, customer, paid["id"])["status"] == "captured"
    listed = shop.api.get("/api/v1/payments", headers=customer).json()["payments"]
    assert [each["id"] for each in listed] == [paid["id"]]


def test_a_wallet_pays_at_once(shop: Shop, customer: dict[str, str]) -> None:
    order = shop.place(customer, shop.product())["id"]
    answer = pay(shop, customer, order, "wallet", wallet_id="wallet-7")
    assert answer.status_code == 201, answer.text
    paid = answer.json()
    assert (paid["status"], paid["payment_method"], paid["card_last4"]) == (
        "captured",
        "wallet",
        "",
    )
    assert shop.order(customer, order)["status"] == "confirmed"
    assert kinds(shop, paid["id"]) == ["capture"]


def test_a_bank_transfer_settles_when_the_money_comes(shop: Shop, customer: dict[str, str]) -> None:
    order = shop.place(customer, shop.product())["id"]
    answer = pay(shop, customer, order, "bank_transfer", iban="DE89370400440532013000")
    assert answer.status_code == 201, answer.text
    begun = answer.json()
    assert begun["status"] in ("pending", "captured")
    eventually(lambda: payment(shop, customer, begun["id"])["status"] == "captured")
    eventually(lambda: shop.order(customer, order)["status"] == "confirmed")
    assert kinds(shop, begun["id"]) == ["capture"]


@pytest.mark.parametrize(
    ("method", "details", "pointer"),
    [
        ("cash", {}, "/payment_method"),
        ("wallet", {}, "/payment_details/wallet_id"),
        ("bank_transfer", {"wallet_id": "w"}, "/payment_details/iban"),
        ("credit_card", {"pin": "1234"}, "/payment_details/pin"),
    ],
)
def test_details_that_do_not_serve(
    shop: Shop, customer: dict[str, str], method: str, details: dict[str, str], pointer: str
) -> None:
    answer = pay(shop, customer, "order-1", method, **details)
    assert answer.status_code == 400, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


def test_a_refund_cancels_the_order_and_brings_the_stock_back(
    shop: Shop, customer: dict[str, str], staff: dict[str, str]
) -> None:
    product = shop.product(inventory=4)
    order = shop.place(customer, product, 3)["id"]
    paid = shop.pay(customer, order).json()["id"]
    path = f"/api/v1/payments/{paid}:refund"
    assert shop.api.post(path, headers=customer).status_code == 403
    for _ in range(2):  # repeating it changes nothing
        answer = shop.api.post(path, json={"reason": "scratched"}, headers=staff)
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "refunded"
    assert sorted(kinds(shop, paid)) == ["capture", "refund"]
    eventually(lambda: shop.order(customer, order)["status"] == "cancelled")
    assert shop.order(customer, order)["payment_status"] == "refunded"

    def stock() -> int:
        return shop.api.get(f"/api/v1/products/{product}").json()["inventory"]

    eventually(lambda: stock() == 4)
    mail = f"Your money for order {order} is on its way back"
    eventually(lambda: mail in [m["subject"] for m in shop.mails()])


def test_an_unpaid_payment_cannot_be_refunded(
    shop: Shop, customer: dict[str, str], staff: dict[str, str]
) -> None:
    order = shop.place(customer, shop.product())["id"]
    declined = shop.pay(customer, order, card_number="4000000000000002")
    assert declined.status_code == 402
    (failed,) = shop.api.get("/api/v1/payments", headers=customer).json()["payments"]
    assert (failed["status"], failed["order_id"]) == ("failed", order)
    answer = shop.api.post(f"/api/v1/payments/{failed['id']}:refund", headers=staff)
    assert (answer.status_code, answer.json()["reason"]) == (409, "PAYMENT_STATE")
    answer = shop.api.post("/api/v1/payments/payment-nowhere:refund", headers=staff)
    assert answer.status_code == 404


def test_07_only_the_providers_own_reports_are_believed(
    shop: Shop, customer: dict[str, str]
) -> None:
    order = shop.place(customer, shop.product())["id"]
    paid = shop.pay(customer, order).json()["id"]
    body = json.dumps({"id": "evt_1", "type": "payment.refunded", "reference": paid}).encode()
    late = json.dumps({"id": "evt_2", "type": "payment.authorized", "reference": paid}).encode()
    now = int(time.time())

    def report(content: bytes, signature: str) -> httpx2.Response:
        headers = {"content-type": "application/json", "x-provider-signature": signature}
        return shop.api.post("/api/v1/webhooks/payments", content=content, headers=headers)

    for forged in (
        "",
        "t=1,v1=00",
        signature(body, now, b"a guess"),
        signature(late, now),
        signature(body, now - 301),
        signature(body, now + 400),  # the machine may take its time
    ):
        assert report(body, forged).status_code == 401
    assert report(b"not json", signature(b"not json", now)).status_code == 400
    assert report(late, signature(late, now)).status_code == 204
    assert payment(shop, customer, paid)["status"] == "captured"
    assert shop.order(customer, order)["status"] == "confirmed"


def signature(body: bytes, at: int, secret: bytes = b"demo-webhook-secret") -> str:
    mac = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={mac}"


def test_everybody_is_told_by_the_channels_of_their_choice(
    shop: Shop, customer: dict[str, str]
) -> None:
    path = "/api/v1/notifications/preferences"
    chosen = shop.api.get(path, headers=customer).json()
    assert chosen == {"email": True, "sms": False, "push": False}
    answer = shop.api.patch(path, json={"email": False, "sms": True}, headers=customer)
    assert answer.json() == {"email": False, "sms": True, "push": False}
    answer = shop.api.patch(path, json={"push": True}, headers=customer)
    assert answer.json() == {"email": False, "sms": True, "push": True}
    answer = shop.api.patch(path, json={"pigeon": True}, headers=customer)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/pigeon")
    phone = {"phone": "+14155550100"}
    assert shop.api.patch("/api/v1/users/me", json=phone, headers=customer).status_code == 200

    order = shop.place(customer, shop.product())["id"]
    shop.pay(customer, order)

    def told() -> list[dict[str, Any]]:
        found = shop.api.get("/api/v1/notifications", headers=customer).json()["notifications"]
        return [n for n in found if n["event_type"] == "order.confirmed" and n["status"] == "sent"]

    eventually(lambda: len(told()) == 2)
    assert {n["channel"] for n in told()} == {"sms", "push"}
    sent = [m for m in shop.mails() if order in m["body"] or order in m["subject"]]
    assert {m["channel"] for m in sent} == {"sms", "push"}
    assert {m["recipient"] for m in sent if m["channel"] == "sms"} == {"+14155550100"}

    first = shop.api.get("/api/v1/notifications?page_size=1", headers=customer).json()
    query = {"page_size": 1, "page_token": first["next_page_token"]}
    second = shop.api.get("/api/v1/notifications", params=query, headers=customer).json()
    assert first["notifications"][0]["id"] != second["notifications"][0]["id"]
