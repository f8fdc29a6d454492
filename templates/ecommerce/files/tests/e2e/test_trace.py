"""Scenario 37: one checkout, with a retry and a redelivery in it, is one connected trace."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import Shop, eventually

SERVICES = {"gateway", "orders", "catalog", "users", "payments", "notifications"}
HANDLING = "process notifications order.confirmed"
#: What sagas did in the background, after the answer.
STEPS = {
    "POST /v1/tokens",
    "checkout.pay",
    "payment.token",
    "payment.authorize",
    "payment.capture",
    "payment.confirm",
}
Span = dict[str, Any]


def read_spans(path: Path) -> list[Span]:
    """Return the spans that were exported so far; a line under way waits for the next look."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def service(span: Span) -> str:
    return span["resource"]["attributes"]["service.name"]


def own_id(span: Span) -> str:
    return span["context"]["span_id"]


def events(span: Span) -> set[str]:
    return {event["name"] for event in span["events"]}


def attempt(span: Span) -> int:
    return span["attributes"].get("prodkit.attempt", 1)


def orphans(spans: list[Span], client_span: str) -> list[str]:
    """Return the names of spans under a parent that nobody exported."""
    known = {own_id(span) for span in spans} | {None, f"0x{client_span}"}
    return [span["name"] for span in spans if span["parent_id"] not in known]


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the one writer's place in a database, so that its service cannot commit."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("mesh", ["local", "grpc"])
def test_37_a_checkout_is_one_connected_trace(own_shop, tmp_path: Path, mesh: str) -> None:
    path = tmp_path / "spans.jsonl"
    shop: Shop = own_shop(mesh=mesh, spans_file=path, sample_ratio=1, payment_patience=1)
    customer, product = shop.customer(), shop.product()
    trace_id, client_span = secrets.token_hex(16), secrets.token_hex(8)

    def trace() -> list[Span]:
        return [s for s in read_spans(path) if s["context"]["trace_id"] == f"0x{trace_id}"]

    def told(word: str, *, least: int) -> list[Span]:
        return [s for s in trace() if word in s["name"] and attempt(s) >= least]

    shop.switch(down=True)
    with ThreadPoolExecutor() as threads, locked(shop.folder / "var" / "notifications.db"):
        header = {"traceparent": f"00-{trace_id}-{client_span}-01"}
        checkout = threads.submit(shop.checkout, customer, product, **header)
        eventually(lambda: [s for s in trace() if "RetryScheduled" in events(s)])
        shop.switch(down=False)
        answer = checkout.result()
        assert answer.status_code == 201, answer.text
        order_id = answer.json()["order"]["id"]
        eventually(lambda: shop.order(customer, order_id)["status"] == "confirmed")
        # The event cannot be handled while the database is locked: the broker hands it out again.
        eventually(lambda: told(HANDLING, least=1))
        shop.sandbox.kill()  # and with it the mail server
    eventually(lambda: told(HANDLING, least=2))
    eventually(lambda: told("send email", least=1))
    shop.start_sandbox()
    eventually(lambda: [m for m in shop.mails() if order_id in m["subject"]])
    assert shop.shop.terminate() == 0  # what is still buffered is handed over

    spans = trace()
    assert {service(span) for span in spans} == SERVICES
    assert orphans(spans, client_span) == []
    (root,) = (span for span in spans if span["parent_id"] == f"0x{client_span}")
    assert (service(root), root["name"]) == ("gateway", "POST /api/v1/checkout")
    assert {span["name"] for span in spans} >= STEPS
    assert [
        span for span in told("send email", least=2) if span["status"]["status_code"] != "ERROR"
    ]
    for handled in told(HANDLING, least=1):
        assert handled["parent_id"] == handled["links"][0]["context"]["span_id"]
    assert orphans(read_spans(path), client_span) == []  # in no other trace of the shop either
