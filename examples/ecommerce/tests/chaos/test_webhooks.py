"""Scenario 7: the provider's reports over HTTP: repeated, late, forged and stale ones."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import httpx2
from harness import Shop

from ecommerce.sandbox.webhooks import signature

SECRET = b"demo-webhook-secret"
PATH = "/api/v1/webhooks/payments"
#: Seconds after which a report is stale.
STALE = 301


def test_reports_count_once_in_any_order_and_only_if_signed(own_shop: Callable[..., Shop]) -> None:
    shop = own_shop()
    customer = shop.customer()
    order = shop.place(customer, shop.product())
    payment = shop.pay(customer, order["id"]).json()
    assert payment["status"] == "captured"
    settled = _events(shop, payment["id"])

    captured, late = (
        _report(f"payment.{kind}", payment["id"]) for kind in ("captured", "authorized")
    )
    duplicates = [_send(shop, captured) for _ in range(10)]
    assert {answer.status_code for answer in duplicates} == {204}
    assert _send(shop, late).status_code == 204
    refund = _report("payment.refunded", payment["id"])
    refused = {
        "forged": _send(shop, refund, secret=b"not the provider's"),
        "unsigned": shop.api.post(PATH, content=refund),
        "stale": _send(shop, refund, age=STALE),
        "early": _send(shop, refund, age=-STALE),
        "altered": shop.api.post(PATH, content=refund, headers=_headers(captured)),
    }
    print({name: answer.status_code for name, answer in refused.items()})
    assert {answer.status_code for answer in refused.values()} == {401}
    read = shop.api.get(f"/api/v1/payments/{payment['id']}", headers=customer).json()
    assert read["status"] == "captured"
    assert _events(shop, payment["id"]) == settled == [("payment.captured",)]
    assert shop.order(customer, order["id"])["status"] == "confirmed"
    assert shop.audit(patience=20)[0] == 0


def _report(kind: str, payment: str) -> bytes:
    return json.dumps({"id": f"evt_{kind}", "type": kind, "reference": payment}).encode()


def _headers(body: bytes, *, secret: bytes = SECRET, age: float = 0.0) -> dict[str, str]:
    return {"x-provider-signature": signature(secret, body, time.time() - age)}


def _send(shop: Shop, body: bytes, *, secret: bytes = SECRET, age: float = 0.0) -> httpx2.Response:
    return shop.api.post(PATH, content=body, headers=_headers(body, secret=secret, age=age))


def _events(shop: Shop, payment: str) -> list[tuple[str, ...]]:
    """Return what the shop told the world of a payment."""
    return shop.rows(
        "payments", f"SELECT type FROM outbox WHERE instr(body, '{payment}') ORDER BY seq"
    )
