"""Scenarios 34 and 35: the shop goes down in time, in order, and says so first."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from harness import ROOT, Shop, eventually, free_port

BUDGET = 3
#: What must never be in a log that ends well.
UNTIDY = ("Traceback", "Task was destroyed", "never awaited", "never retrieved", "exit forced")


def test_a_request_that_outlasts_the_budget_is_cut(own_shop: Callable[..., Shop]) -> None:
    shop = own_shop(drain_timeout=BUDGET, provider_timeout=10, payment_patience=9)
    with ThreadPoolExecutor() as pool:
        paying, customer, order_id = _hang_in_a_payment(shop, pool)
        code, took = _stopped(shop)
        answer = paying.result()
    print(f"\ncut after {took:.2f} s with exit code {code}; the caller read {answer}")
    assert BUDGET - 0.5 < took < 8  # the provider would be waited for until 10
    assert code == 1
    assert answer == 503
    _is_tidy(shop, cut=True)
    # What was cut is taken up again: here, by the customer.
    shop.switch(hang=False)
    shop.start_shop()
    assert shop.pay(customer, order_id).status_code == 201
    eventually(lambda: shop.order(customer, order_id)["status"] == "confirmed")
    assert shop.audit(patience=20)[0] == 0


def test_a_second_signal_ends_it_at_once(own_shop: Callable[..., Shop]) -> None:
    shop = own_shop(drain_timeout=20, provider_timeout=10, payment_patience=9)
    assert shop.shop is not None
    with ThreadPoolExecutor() as pool:
        paying, _, _ = _hang_in_a_payment(shop, pool)
        shop.shop.signal(signal.SIGTERM)
        time.sleep(1.0)
        assert shop.shop.running()
        code, took = _stopped(shop)
        paying.result()
    print(f"\nsecond SIGTERM: gone after {took:.2f} s, exit code {code}")
    assert took < 8
    assert code == 1
    _is_tidy(shop, cut=True)


def test_a_drain_loses_nothing(own_shop: Callable[..., Shop], tmp_path: Path) -> None:
    """What was begun is answered, its line and its span are there, its events go on later."""
    spans = tmp_path / "spans.jsonl"
    shop = own_shop(provider_timeout=5, spans_file=spans, sample_ratio=1)
    customer, product = shop.customer(), shop.product()
    shop.switch(slow_seconds=0.7)
    assert shop.shop is not None
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(shop.checkout, customer, product) for _ in range(5)]
        time.sleep(0.3)
        code, took = _stopped(shop)
        answers = [each.result() for each in asked]
    assert [answer.status_code for answer in answers] == [201] * 5
    assert code == 0
    lines = _is_tidy(shop)
    ids = {answer.headers["x-request-id"] for answer in answers}
    told = {line["request_id"]: line for line in lines if line.get("transport") == "http"}
    assert ids <= told.keys()
    recorded = {json.loads(line)["context"]["trace_id"] for line in spans.open()}
    assert {f"0x{told[each]['trace_id']}" for each in ids} <= recorded
    shop.switch(slow_seconds=0)
    shop.start_shop()
    orders = [answer.json()["order"]["id"] for answer in answers]
    eventually(lambda: all(shop.order(customer, o)["status"] == "confirmed" for o in orders))
    verdict, table = shop.audit(patience=20)
    print(f"\ndrained in {took:.2f} s\n{table}")
    assert verdict == 0


def test_probes_tell_of_a_database_that_hangs(own_shop: Callable[..., Shop]) -> None:
    shop = own_shop()
    with _hung(shop.folder / "var" / "orders.db-shm"):
        eventually(lambda: shop.api.get("/health/ready").status_code == 503, within=5)
        waits = {path: _slowest(shop, path) for path in ("/health/live", "/health/ready")}
        assert shop.api.get("/health/live").status_code == 200
        detail = shop.api.get("/health").json()["checks"]
        assert detail["orders.database"]["status"] == "unhealthy"
        assert detail["catalog.database"]["status"] == "healthy"
    print(f"\nslowest probes: {waits} s")
    assert max(waits.values()) < 0.5
    eventually(lambda: shop.api.get("/health/ready").status_code == 200, within=10)


def test_peers_hear_of_it_before_the_listener_closes(own_shop: Callable[..., Shop]) -> None:
    shop = own_shop(mesh="grpc", drain_delay=2)
    assert shop.shop is not None
    port = _grpc_ports(shop)[0]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        heard = (health_pb2.HealthCheckResponse.ServingStatus.Name(m.status) for m in watch)
        assert next(heard) == "SERVING"
        shop.shop.signal(signal.SIGTERM)
        assert next(heard) == "NOT_SERVING"
        # Both doors are open still.
        with grpc.insecure_channel(f"127.0.0.1:{port}") as late:
            grpc.channel_ready_future(late).result(timeout=1.0)
        assert shop.api.get("/health/live").status_code == 200
        assert shop.api.get("/health/ready").status_code == 503
        watch.cancel()
    assert shop.shop.wait() == 0
    _is_tidy(shop)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_demo_leaves_no_child_behind(tmp_path: Path, number: signal.Signals) -> None:
    ports = {name: free_port() for name in ("PORT", "ADMIN_PORT", "SANDBOX_PORT", "SMTP_PORT")}
    env = os.environ | {f"SHOP_{name}": str(port) for name, port in ports.items()}
    env |= {"SHOP_DATA_DIR": str(tmp_path / "var"), "SHOP_DRAIN_DELAY": "0"}
    with (tmp_path / "demo.log").open("wb") as output:
        command = [sys.executable, "-m", "ecommerce.cli", "demo"]
        demo = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output)
    try:
        shop, sandbox = (f"http://127.0.0.1:{ports[p]}" for p in ("PORT", "SANDBOX_PORT"))
        eventually(
            lambda: _answers(f"{shop}/health/ready") and _answers(f"{sandbox}/health"), within=60
        )
        demo.send_signal(number)
        code = demo.wait(30)
        eventually(lambda: not _answers(f"{sandbox}/health"), within=10)
    finally:
        demo.kill()
    assert code == (0 if number is signal.SIGINT else -signal.SIGKILL)
    log = (tmp_path / "demo.log").read_text()
    assert [word for word in (*UNTIDY, '"level":"error"') if word in log] == []


def _hang_in_a_payment(
    shop: Shop, pool: ThreadPoolExecutor
) -> tuple[Future[int], dict[str, str], str]:
    """Begin a payment that its provider leaves hanging; return it, the customer, the order."""
    customer, product = shop.customer(), shop.product()
    order_id = shop.place(customer, product)["id"]
    shop.switch(hang=True)

    def pay() -> int:
        with httpx2.Client(base_url=shop.url, timeout=30.0) as api:
            return Shop.pay(_Asking(api), customer, order_id).status_code  # type: ignore[arg-type]

    paying = pool.submit(pay)
    time.sleep(1.0)  # it is a moment to the provider, which tells nobody who hangs there
    assert not paying.done()
    return paying, customer, order_id


class _Asking:
    """As much of a shop as one call needs, with a connection of its own."""

    def __init__(self, api: httpx2.Client) -> None:
        self.api = api


def _stopped(shop: Shop) -> tuple[int, float]:
    """Send SIGTERM; return the exit code, and how long it took."""
    assert shop.shop is not None
    began = time.monotonic()
    return shop.shop.terminate(), time.monotonic() - began


def _is_tidy(shop: Shop, *, cut: bool = False) -> list[dict[str, Any]]:
    """See that the log is whole and tells of no accident; return its lines."""
    assert shop.shop is not None
    text = shop.shop.log.read_text()
    assert [word for word in UNTIDY if word in text] == []
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[-1]["event"] == "stopped"
    errors = [line for line in lines if line["level"] in ("error", "critical")]
    assert cut or errors == []
    return lines


@contextmanager
def _hung(path: Path) -> Any:
    """Hold the locks that a SQLite database's users need, on its shared index: all will wait."""
    with path.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX, 8, 120)
        yield


def _slowest(shop: Shop, path: str) -> float:
    def timed() -> float:
        began = time.monotonic()
        shop.api.get(path)
        return time.monotonic() - began

    return round(max(timed() for _ in range(20)), 3)


def _grpc_ports(shop: Shop) -> list[int]:
    """Return the ports on which the shop's process listens, but those that speak HTTP."""
    assert shop.shop is not None
    process = Path(f"/proc/{shop.shop.pid}")
    links = [os.readlink(each) for each in (process / "fd").iterdir()]
    tables = ((process / "net" / name).read_text() for name in ("tcp", "tcp6"))
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    listening = {
        int(r[1].split(":")[1], 16) for r in rows if r[3] == "0A" and f"socket:[{r[9]}]" in links
    }
    return sorted(listening - {shop.port, int(shop.env["SHOP_ADMIN_PORT"])})


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=1.0).status_code == 200
    except httpx2.HTTPError:
        return False
