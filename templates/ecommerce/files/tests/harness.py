"""The shop as its users meet it: real processes, free ports, a folder of their own."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from forks import Fork
from prometheus_client.parser import text_string_to_metric_families
from whole import running as running  # noqa: PLC0414 - added services take it from here

ROOT = Path(__file__).parents[1]
MESHES = ("local", "grpc")
#: The same, and over PostgreSQL, Redis and RabbitMQ in one process and in several.
SHOPS = (*MESHES, "engines", pytest.param("fleet", marks=pytest.mark.slow))
#: Whose pages may call the API of the shop that tests share.
ORIGIN = "https://pages.example"
ADDRESS = {
    "street": "123 Main St",
    "city": "San Francisco",
    "state": "CA",
    "zip": "94105",
    "country": "US",
}
CARD = {
    "card_number": "4111111111111111",
    "expiry_month": "12",
    "expiry_year": "2025",
    "cvv": "123",
}


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(check: Callable[[], Any], *, within: float = 20.0, every: float = 0.1) -> Any:
    """Return what `check` returns once it is true; fail with its last value after `within`."""
    end = time.monotonic() + within
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < end, f"not within {within} s: {found!r}"
        time.sleep(every)


class Process:
    """One process of the command; its output goes to a file in the folder."""

    def __init__(self, command: str, folder: Path, env: dict[str, str], *options: str) -> None:
        self.log = folder / f"{command}-{secrets.token_hex(3)}.log"
        self._popen: Fork | subprocess.Popen[bytes] = Fork(
            [command, *options], ROOT, {**os.environ, **env}, self.log
        )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self, timeout: float = 40.0) -> int:
        return self._popen.wait(timeout)

    def terminate(self, timeout: float = 40.0) -> int:
        """Send SIGTERM and return the exit code."""
        self._popen.terminate()
        return self._popen.wait(timeout)

    def kill(self) -> None:
        """Send SIGKILL, and bury it."""
        self._popen.kill()
        self._popen.wait()

    def running(self) -> bool:
        return self._popen.poll() is None


class Shop:
    """A shop process and a sandbox process that share a folder; each can die alone.

    `settings` become `SHOP_...` variables. The drain is short unless a test asks for more.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.port, self.sandbox_port, smtp = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.sandbox_url = f"http://127.0.0.1:{self.sandbox_port}"
        values: dict[str, object] = {
            "environment": "demo",
            "data_dir": folder / "var",
            "port": self.port,
            "admin_port": free_port(),
            "sandbox_port": self.sandbox_port,
            "smtp_port": smtp,
            "drain_delay": 0,
            "requests_per_second": 2000,
            "concurrency_floor": 1000,  # a busy machine is no reason to refuse
            "login_attempts_per_address": 10_000,
            "login_attempts_per_minute": 1_000,
            **settings,
        }
        self.env = {f"SHOP_{name.upper()}": str(value) for name, value in values.items()}
        self.api = httpx2.Client(base_url=self.url, timeout=30.0)
        self.sandbox_api = httpx2.Client(base_url=self.sandbox_url, timeout=10.0)
        self.shop: Process | None = None
        self.sandbox: Process | None = None

    # processes

    def start(self) -> Shop:
        """Start both and wait until they are ready."""
        self.start_sandbox()
        self.start_shop()
        return self

    def start_shop(self, *, wait: bool = True) -> None:
        self.shop = Process("serve", self.folder, self.env)
        if wait:
            self.await_ready()

    def await_ready(self) -> None:
        eventually(
            lambda: self._healthy(self.api, "/health/ready", self.shop), within=60.0, every=0.05
        )

    def start_sandbox(self) -> None:
        self.sandbox = Process("sandbox", self.folder, self.env)
        self._await(lambda: self._healthy(self.sandbox_api, "/health", self.sandbox))

    def close(self) -> None:
        """Stop what runs, by force."""
        self.api.close()
        self.sandbox_api.close()
        for process in (self.shop, self.sandbox):
            if process is not None and process.running():
                process.kill()

    @staticmethod
    def _await(ready: Callable[[], bool]) -> None:
        """Wait for a process that starts: one that dies is found at once, so there is time."""
        eventually(ready, within=120.0, every=0.05)

    @staticmethod
    def _healthy(client: httpx2.Client, path: str, process: Process | None) -> bool:
        assert process is not None
        assert process.running(), process.log.read_text()[-4000:]
        try:
            return client.get(path).status_code == 200
        except httpx2.TransportError:
            return False

    def run(self, *command: object, within: float = 120.0) -> tuple[int, str]:
        """Run another command on the same folder; return its exit code and words."""
        name, *options = map(str, command)
        process = Process(name, self.folder, self.env, *options)
        try:
            return process.wait(within), process.log.read_text()
        finally:
            process.kill()

    def audit(self, *, limit: float = 0.0, patience: float = 0.0) -> tuple[int, str]:
        """Check the books; by default nothing may be half done."""
        return self.run("audit", "--limit", limit, "--patience", patience)

    def rows(self, service: str, query: str) -> list[tuple[Any, ...]]:
        """Read a service's database behind its back."""
        path = self.folder / "var" / f"{service}.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)) as connection:
            return connection.execute(query).fetchall()

    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self.folder.glob("*.log"))

    # what a customer does

    def login(self, email: str, password: str = "demo-password") -> dict[str, str]:
        """Sign in; return the header that says so."""
        body = {"email": email, "password": password}
        answer = self.api.post("/api/v1/auth/login", json=body)
        assert answer.status_code == 200, answer.text
        return {"authorization": f"Bearer {answer.json()['access_token']}"}

    def customer(self, *roles: str) -> dict[str, str]:
        """Register somebody new, with `roles` if there are any, and sign in."""
        return self.login(self.account(*roles), "securepassword")

    def account(self, *roles: str) -> str:
        """Register somebody with `roles`; return the email."""
        email = f"{secrets.token_hex(6)}@example.com"
        body = {"name": "Some Body", "email": email, "password": "securepassword"}
        answer = self.api.post("/api/v1/users", json=body)
        assert answer.status_code == 201, answer.text
        if roles:
            path = f"/api/v1/users/{answer.json()['id']}/roles"
            admin = self.login("admin@example.com")
            answer = self.api.put(path, json={"roles": roles}, headers=admin)
            assert answer.status_code == 200, answer.text
        return email

    def product(self, inventory: int = 100, price: str = "10.00") -> str:
        """Put something on sale; return its id."""
        body = {"name": "Thing", "price": price, "currency": "USD", "inventory": inventory}
        staff = self.login("staff@example.com")
        answer = self.api.post("/api/v1/products", json=body, headers=staff)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def order_body(self, product: str, quantity: int = 1) -> dict[str, Any]:
        items = [{"product_id": product, "quantity": quantity}]
        return {"items": items, "shipping_address": ADDRESS}

    def place(self, user: dict[str, str], product: str, quantity: int = 1) -> dict[str, Any]:
        answer = self.api.post(
            "/api/v1/orders", json=self.order_body(product, quantity), headers=user
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    def pay(self, user: dict[str, str], order_id: str, **details: str) -> httpx2.Response:
        body = {
            "order_id": order_id,
            "payment_method": "credit_card",
            "payment_details": CARD | details,
        }
        return self.api.post("/api/v1/payments", json=body, headers=user)

    def checkout(self, user: dict[str, str], product: str, **headers: str) -> httpx2.Response:
        body = self.order_body(product) | {
            "payment_method": "credit_card",
            "payment_details": CARD,
        }
        return self.api.post("/api/v1/checkout", json=body, headers=user | headers)

    def order(self, user: dict[str, str], order_id: str) -> dict[str, Any]:
        answer = self.api.get(f"/api/v1/orders/{order_id}", headers=user)
        assert answer.status_code == 200, answer.text
        return answer.json()

    # what operators see

    @property
    def metrics_urls(self) -> list[str]:
        """Where the processes of the shop show their metrics."""
        return [f"{self.url}/metrics"]

    def metric(self, name: str, /, **labels: str) -> float:
        """Return the sum of the samples called `name` that bear `labels`."""
        pages = [self.api.get(url).text for url in self.metrics_urls]
        families = [each for page in pages for each in text_string_to_metric_families(page)]
        samples = [sample for family in families for sample in family.samples]
        return sum(
            s.value for s in samples if s.name == name and labels.items() <= s.labels.items()
        )

    # what the outside world saw

    def ledger(self) -> list[dict[str, Any]]:
        return self.sandbox_api.get("/v1/ledger").json()["entries"]

    def mails(self) -> list[dict[str, Any]]:
        return self.sandbox_api.get("/sandbox/mailbox.json").json()["messages"]

    def switch(self, **switches: object) -> None:
        answer = self.sandbox_api.put("/v1/switches", json=switches)
        assert answer.status_code == 200, answer.text
