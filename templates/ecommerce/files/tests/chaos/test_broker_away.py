"""Scenario 29: RabbitMQ is gone for a while; customers notice nothing, and nothing is lost."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from harness import CARD, eventually
from prometheus_client.parser import text_string_to_metric_families
from servers import SERVICES, Fleet, Servers

#: Seconds; the scenario has ten minutes: `BROKER_AWAY=600 make test-slow`.
AWAY = float(os.environ.get("BROKER_AWAY", "90"))
BUYERS = 8
#: Events a second that a backlog drains with, and the slack that noisy machines get.
DRAIN, SLACK = 1000.0, 5.0
PENDING, AGE = "outbox_pending_events", "outbox_oldest_event_seconds"


@pytest.fixture
def servers() -> Iterator[Servers]:
    servers = Servers()
    try:
        yield servers.start()
    finally:
        servers.close()


@pytest.fixture
def fleet(servers: Servers, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, **servers.settings())
    try:
        fleet.start_sandbox()
        fleet.start_shop(wait=False)
        eventually(lambda: _is_up(fleet), within=240)
        fleet.await_ready()
        yield fleet
    finally:
        fleet.close()


@pytest.mark.slow
@pytest.mark.timeout(AWAY + 900)
def test_the_broker_is_away(servers: Servers, fleet: Fleet) -> None:
    product = fleet.product(inventory=1_000_000)
    answers: Counter[str] = Counter()
    waits: list[float] = []
    with _buying(fleet, product, answers, waits):
        time.sleep(5.0)
    usual, before = _median(waits), sum(answers.values())
    eventually(lambda: _waiting(fleet) == 0, within=60)

    servers.rabbitmq.stop()
    answers.clear()
    waits.clear()
    began = time.monotonic()
    with _buying(fleet, product, answers, waits):
        time.sleep(AWAY)
    away = time.monotonic() - began
    oldest, told = max(_samples(fleet, AGE)), max(_samples(fleet, PENDING))
    pending = _waiting(fleet)
    starting = time.monotonic()
    servers.rabbitmq.start()
    port_open = time.monotonic()
    first, drained, longest = _watch_it_drain(fleet, pending)
    bought = sum(answers.values())
    rate = longest[0] / longest[1]
    print(
        f"\nRabbitMQ away for {away:.0f} s (and {port_open - starting:.1f} s to start):"
        f" {bought} checkouts, {dict(answers)}, median {1000 * _median(waits):.0f} ms"
        f" (before: {before} in 5 s, median {1000 * usual:.0f} ms)"
        f"\nbacklog {pending} events, the oldest {oldest:.0f} s old;"
        f" first published {first - port_open:.1f} s after the port was open, all of it"
        f" {drained - port_open:.1f} s after: {rate:.0f} events/s"
    )
    # "pending" is what a customer of a busy machine is told; the audit below sees it paid.
    assert answers.keys() <= {"201 paid", "201 pending"}
    assert oldest > 0.8 * AWAY, "the gauge that alerts are made of"
    assert told > 0
    assert pending >= bought, "an event at least for each order"
    if pending >= 5 * DRAIN:  # a smaller backlog is over before a rate can be told
        assert rate >= DRAIN / SLACK
    eventually(lambda: max(_samples(fleet, AGE)) == max(_samples(fleet, PENDING)) == 0)
    code, table = fleet.audit(patience=120)
    print(table)
    assert code == 0


@contextmanager
def _buying(
    fleet: Fleet, product: str, answers: Counter[str], waits: list[float]
) -> Iterator[None]:
    """Have customers buy one thing after another, and keep what they were told."""
    ended = threading.Event()
    customers = [fleet.customer() for _ in range(BUYERS)]
    body = fleet.order_body(product) | {"payment_method": "credit_card", "payment_details": CARD}

    def buy(customer: dict[str, str]) -> None:
        with httpx2.Client(base_url=fleet.url, timeout=30.0, headers=customer) as api:
            while not ended.is_set():
                asked = time.monotonic()
                try:
                    answer = api.post("/api/v1/checkout", json=body)
                except httpx2.TransportError as error:
                    answers[type(error).__name__] += 1
                    continue
                waits.append(time.monotonic() - asked)
                paid = answer.json().get("payment_status", answer.text[:200])
                answers[f"{answer.status_code} {paid}"] += 1

    threads = [threading.Thread(target=buy, args=(customer,)) for customer in customers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _watch_it_drain(fleet: Fleet, pending: int) -> tuple[float, float, tuple[int, float]]:
    """Return when the first event left, when the last had, and how many left in which time."""
    first, left = 0.0, 0
    until = time.monotonic() + 300
    while time.monotonic() < until:
        now, waiting = time.monotonic(), _waiting(fleet)
        if not first and waiting < pending:
            first, left = now, waiting
        if waiting == 0:
            # From the first look at which some were gone to the first at which all were.
            return first, now, (left or pending, max(now - first, 0.05))
        time.sleep(0.05)
    raise AssertionError(f"{_waiting(fleet)} events still wait")


def _samples(fleet: Fleet, name: str) -> list[float]:
    pages = [fleet.api.get(url).text for url in fleet.metrics_urls]
    families = [family for page in pages for family in text_string_to_metric_families(page)]
    return [s.value for family in families for s in family.samples if s.name == name]


def _is_up(fleet: Fleet) -> bool:
    try:
        return fleet.api.get("/health/ready").status_code == 200
    except httpx2.TransportError:
        return False


def _waiting(fleet: Fleet) -> int:
    """Count the events that are not published, in the databases: gauges are some seconds old."""
    query = "SELECT count(*) FROM outbox WHERE sent_at IS NULL"
    return sum(fleet.rows(service, query)[0][0] for service in SERVICES)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0
