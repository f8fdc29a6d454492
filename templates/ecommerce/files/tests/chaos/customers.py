"""Customers who go on buying while the shop dies under them, and remember what they were told."""

from __future__ import annotations

import random
import secrets
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx2
from harness import CARD, Shop

#: Answers of a shop that is going down, coming up, or still busy with the same key.
TRY_AGAIN = {409, 503, 504}
#: "Not paid, and cancelled": what a checkout says that lay dead for longer than its order waits.
REFUSED = 402


@dataclass
class Memory:
    """What the shop has acknowledged, and what it should never have said."""

    orders: set[str] = field(default_factory=set)
    under_key: dict[str, set[str]] = field(default_factory=dict)
    paid: set[str] = field(default_factory=set)
    odd: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)


class Customers:
    """`count` threads; each buys one thing after another until `stop`."""

    def __init__(self, shop: Shop, product: str, count: int) -> None:
        self.memory = Memory()
        self._shop = shop
        self._product = product
        self._tokens = [shop.customer() for _ in range(count)]
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._live, args=(t,)) for t in self._tokens]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let them end what they are at."""
        self._ended.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _live(self, token: dict[str, str]) -> None:
        with httpx2.Client(base_url=self._shop.url, timeout=15.0, headers=token) as api:
            while not self._ended.is_set():
                random.choice([self._order_and_pay, self._check_out, self._impatiently])(api)

    def _order_and_pay(self, api: httpx2.Client) -> None:
        order = self._insist(api, "/api/v1/orders", self._shop.order_body(self._product))
        if order:
            self._insist(api, "/api/v1/payments", _payment(order["id"]))

    def _check_out(self, api: httpx2.Client) -> None:
        body = self._shop.order_body(self._product)
        self._insist(api, "/api/v1/checkout", body | _payment())

    def _impatiently(self, api: httpx2.Client) -> None:
        """Buy without a key, and never ask again."""
        order = self._ask(api, "/api/v1/orders", self._shop.order_body(self._product), {})
        if order is not None:
            self._ask(api, "/api/v1/payments", _payment(order["id"]), {})

    def _insist(self, api: httpx2.Client, path: str, body: dict[str, Any]) -> Any:
        """Ask under one key until there is an answer, or everybody goes home."""
        key = secrets.token_hex(8)
        while True:
            answer = self._ask(api, path, body, {"idempotency-key": key}, key=key)
            if answer is not None or self._ended.wait(0.4):
                return answer

    def _ask(
        self,
        api: httpx2.Client,
        path: str,
        body: dict[str, Any],
        headers: dict[str, str],
        key: str = "",
    ) -> Any:
        try:
            answer = api.post(path, json=body, headers=headers)
        except httpx2.TransportError:
            self._ended.wait(0.05)
            return None
        memory = self.memory
        memory.answers[answer.status_code] += 1
        if answer.status_code != 201:
            if answer.status_code not in {*TRY_AGAIN, REFUSED}:
                memory.odd.append(f"{path}: {answer.status_code} {answer.text}")
            return {} if answer.status_code == REFUSED else None
        told = answer.json()
        order = told.get("order", told)
        order_id = order.get("order_id") or order["id"]
        memory.orders.add(order_id)
        if key:
            memory.under_key.setdefault(key, set()).add(order_id)
        if told.get("status") == "captured" or told.get("payment_status") == "paid":
            memory.paid.add(order_id)
        return told


def _payment(order_id: str | None = None) -> dict[str, Any]:
    means = {"payment_method": "credit_card", "payment_details": CARD}
    return means if order_id is None else means | {"order_id": order_id}
