"""The session of a first customer, from registration to the mail."""

from __future__ import annotations

import pytest
from harness import SHOPS, Shop, eventually

pytestmark = pytest.mark.parametrize("shop", SHOPS, indirect=True)


def test_a_purchase_goes_through(shop: Shop) -> None:
    customer, product = shop.customer(), shop.product(inventory=3)
    order = shop.place(customer, product)
    assert order["status"] == "pending"

    paid = shop.pay(customer, order["id"])
    assert paid.status_code == 201, paid.text
    assert paid.json()["status"] == "captured"
    assert shop.order(customer, order["id"])["status"] == "confirmed"
    assert shop.api.get(f"/api/v1/products/{product}").json()["inventory"] == 2
    eventually(lambda: [m for m in shop.mails() if order["id"] in m["subject"]])


def test_checkout_in_one_call(shop: Shop) -> None:
    customer = shop.customer()
    answer = shop.checkout(customer, shop.product())
    assert answer.status_code == 201, answer.text
    assert answer.json()["payment_status"] == "paid"
    assert answer.json()["order"]["status"] == "confirmed"
