"""Scenarios 38 and 48: what strangers say becomes neither series, nor log lines, nor headers."""

from __future__ import annotations

import json
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness import Shop, eventually

#: A counter and the histogram beside it have the same labels: one of them is enough to count.
COUNTER = re.compile(r"^(\w+_total(?:\{.*\})?) ", re.MULTILINE)
TREACHEROUS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]")
REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
#: What the parser knows and we do not, and what nobody knows (the empty one: a random word).
METHODS = ("GET", "PROPFIND", "PURGE", "")
FAKE = '{"level":"error","event":"you are hacked"}'
INJECTIONS = [
    "one\r\nset-cookie: stolen=1\r\n\r\n<html>",
    f"two\n{FAKE}",
    "three\x1b[31m\x1b]0;title\x07",
    f"four\u2028{FAKE}\u2029\x85",
    f'five","event":"call","service":"bank{FAKE}',
    "six\x00\x0b\x0c",
    "seven\u202egnp.exe",
]


def series(shop: Shop) -> set[str]:
    return set(COUNTER.findall(shop.api.get("/metrics").text))


def random_word() -> str:
    return secrets.token_urlsafe(9).replace("-", "x").replace("_", "y")


def test_38_strangers_choose_no_labels(own_shop: Callable[..., Shop]) -> None:
    shop = own_shop()
    shop.api.get("/metrics")  # asking is counted too
    before = series(shop)
    for number in range(500):
        method = METHODS[number % 4] or random_word().upper()
        place = ("", "/api", "/api/v1/orders/x", "/sandbox-", "/static", "/.well-known")[number % 6]
        answer = shop.api.request(method, f"{place}/{random_word()}?{random_word()}={number}")
        assert answer.status_code in (400, 404, 405), (method, place, answer.status_code)
    new = series(shop) - before
    assert len(new) <= 2, new


def lines(shop: Shop) -> Iterator[dict[str, Any]]:
    """Return the lines of the shop's log, checked: one JSON object each, with its four marks."""
    raw = b"".join(path.read_bytes() for path in shop.folder.glob("serve-*.log"))
    assert raw.endswith(b"\n")
    for text in raw.decode().removesuffix("\n").split("\n"):
        assert not TREACHEROUS.search(text), text
        line = json.loads(text)
        assert isinstance(line, dict)
        assert {"service", "request_id", "trace_id", "span_id", "event"} <= line.keys(), text
        if line["event"] == "call":
            assert all(line[name] for name in ("service", "request_id", "trace_id", "span_id")), (
                text
            )
        yield line


def raw_request(shop: Shop, *headers: bytes) -> bytes:
    """Send a request as no client library would, and return the whole answer."""
    with socket.create_connection(("127.0.0.1", shop.port), timeout=10) as connection:
        head = [b"GET /api/v1/orders HTTP/1.1", b"host: shop", b"connection: close", *headers]
        connection.sendall(b"\r\n".join([*head, b"", b""]))
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("mesh", ["local", "grpc"])
def test_48_nobody_writes_our_lines_or_headers(own_shop: Callable[..., Shop], mesh: str) -> None:
    shop = own_shop(mesh=mesh, log_level="debug")
    customer, product = shop.customer(), shop.product()
    for text in INJECTIONS:
        value = text.encode()
        for name in (b"user-agent", b"idempotency-key", b"x-request-id", b"baggage", b"tracestate"):
            answer = raw_request(shop, name + b": " + value)
            head = answer.partition(b"\r\n\r\n")[0].decode("latin-1").lower()
            assert answer.startswith(b"HTTP/1.1 4"), head
            assert "stolen" not in head
            assert "hacked" not in head
            assert not re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\xff]", head), head
        for path in ("/api/v1/orders/", "/api/v1/products?query=", "/"):
            shop.api.get(path + "".join(f"%{byte:02x}" for byte in value), headers=customer)
        body = shop.order_body(product) | {"note": text}
        assert shop.api.post("/api/v1/orders", json=body, headers=customer).status_code == 400
        account = {"name": text, "email": f"{text}@example.com", "password": "securepassword"}
        assert shop.api.post("/api/v1/users", json=account).status_code in (201, 400)
        card = {"payment_method": "wallet", "payment_details": {"wallet_id": text}}
        shop.api.post("/api/v1/checkout", json=body | card, headers=customer)
        order = shop.place(customer, product)["id"]
        shop.api.post("/api/v1/payments", json={"order_id": order} | card, headers=customer)
    checked = shop.checkout(customer, product, **{"idempotency-key": FAKE, "x-request-id": "mine"})
    assert checked.headers["x-request-id"] == "mine"
    assert shop.checkout(customer, product).status_code == 201
    name = {"user": {"name": f"Bobby{INJECTIONS[0]}"}, "update_mask": "name"}
    shop.api.patch("/api/v1/users/me", json=name, headers=customer)
    answer = shop.checkout(customer, product)
    assert REQUEST_ID.fullmatch(answer.headers["x-request-id"])
    order = answer.json()["order"]["id"]
    eventually(lambda: [mail for mail in shop.mails() if order in mail["subject"]])
    assert shop.shop.terminate() == 0

    seen = list(lines(shop))
    assert {line["service"] for line in seen} >= {"gateway", "users", "orders", "payments", "shop"}
    assert "you are hacked" not in {line["event"] for line in seen}
    assert "bank" not in {line["service"] for line in seen}
    assert [line for line in seen if line["request_id"] == "mine"]
