"""The shops that are measured: embedded, on engines in one process, on engines in many."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "ecommerce" / "tests"))
from harness import Process, Shop
from prometheus_client.parser import text_string_to_metric_families
from servers import EnginesShop, Fleet, Servers

ROOT = Path(__file__).parents[2]
#: A process for each service; the first one has the gateway's port.
EACH = (("gateway",), ("users",), ("catalog",), ("orders",), ("payments",), ("notifications",))
#: PostgreSQL writes a line of JSON for each statement, once it is told to; see `Engines.log`.
LOGGED = {
    "logging_collector": "on",
    "log_destination": "jsonlog",
    "log_directory": "log",
    "log_filename": "server.log",
    "log_rotation_size": "0",
}
TICK = os.sysconf("SC_CLK_TCK")


class Watched(Process):
    """A shop's process whose statements and samples go to `folder`; see `observed`."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.log = folder / f"watched-{secrets.token_hex(3)}.log"
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        watch = {"BENCH_WATCH": str(folder / "watch"), "PYTHONPATH": paths}
        with self.log.open("wb") as output:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.orders.observed", "serve"],
                cwd=ROOT / "examples" / "ecommerce",
                env={**os.environ, **env, **watch},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )


class WatchedShop(Shop):
    """The embedded shop, watched from within."""

    def start_shop(self, *, wait: bool = True) -> None:
        self.shop = Watched(self.folder, self.env)
        if wait:
            self.await_ready()


class WatchedEngines(EnginesShop):
    """The shop on engines in one process, watched from within."""

    def start_shop(self, *, wait: bool = True) -> None:
        self.migrate()
        self.shop = Watched(self.folder, self.env)
        if wait:
            self.await_ready()


class Engines(Servers):
    """Private servers whose PostgreSQL syncs, and can log what it is told."""

    def __init__(self) -> None:
        super().__init__(durable=True, settings=LOGGED)
        self.prefix = ""

    def settings(self) -> dict[str, object]:
        made = super().settings()
        self.prefix = str(made["database_url"]).rpartition("/")[2].removesuffix("{service}")
        return made

    @property
    def log_path(self) -> Path:
        return self.postgres.folder / "data" / "log" / "server.json"


@contextmanager
def opened(shop: Shop) -> Iterator[Shop]:
    """Start a shop, and stop it whatever happens."""
    shop.folder.mkdir(parents=True, exist_ok=True)
    try:
        yield shop.start()
    finally:
        shop.close()


def quiet() -> dict[str, Any]:
    """Return the settings that all measured shops have: they log no calls."""
    return {"log_level": "warning", "reservation_lifetime": 3600}


def cpu_seconds(pids: dict[str, list[int]]) -> dict[str, float]:
    """Return the processor time that these families of processes have used until now."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            own = (int(fields[11]) + int(fields[12])) / TICK
            ended = (int(fields[13]) + int(fields[14])) / TICK
            parents[int(entry.name)] = int(fields[1]), own + ended
    return {name: sum(_family(pid, parents) for pid in of) for name, of in pids.items()}


def _family(pid: int, parents: dict[int, tuple[int, float]]) -> float:
    own = parents.get(pid, (0, 0.0))[1]
    return own + sum(_family(child, parents) for child, (of, _) in parents.items() if of == pid)


def pids_of(shop: Shop, servers: Servers | None) -> dict[str, list[int]]:
    """Return what belongs together: the shop's processes by name, the sandbox, the servers."""
    assert shop.shop is not None
    assert shop.sandbox is not None
    if isinstance(shop, Fleet):
        named = zip(EACH, shop.processes, strict=True)
        found = {group[0]: [process.pid] for group, process in named}
    else:
        found = {"the shop": [shop.shop.pid]}
    found["sandbox"] = [shop.sandbox.pid]
    if servers is not None:
        found["PostgreSQL"] = _named(servers.postgres.folder)
        found["RabbitMQ"] = _named(servers.rabbitmq.folder)
        found["Redis"] = _named(servers.redis.folder)
    return found


def _named(folder: Path) -> list[int]:
    """Return the process that guards the server of `folder`, whose child the server is."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"prodkit.testing.servers.guard" in words and str(folder).encode() in words:
                found.append(int(entry.name))
    return found


def hops(shop: Shop) -> dict[str, float]:
    """Return how many calls between services each service has answered until now."""
    urls = shop.metrics_urls if isinstance(shop, Fleet) else [f"{shop.url}/metrics"]
    found: dict[str, float] = {}
    for url in urls:
        for family in text_string_to_metric_families(httpx2.get(url).text):
            for each in family.samples:
                if each.name == "rpc_server_requests_total":
                    method = next(value for value in each.labels.values() if "/" in value)
                    found[method] = found.get(method, 0.0) + each.value
    return found


def mails(shop: Shop) -> int:
    """Return how many mails have come."""
    asked = shop.sandbox_api.get("/sandbox/mailbox.json", params={"limit": 100_000})
    return len(asked.json()["messages"])


def settle(shop: Shop, wanted: int, within: float = 120.0) -> None:
    """Wait until so many mails have come: an order's is the last thing that happens to it."""
    end = time.monotonic() + within
    while (found := mails(shop)) < wanted:
        if time.monotonic() > end:
            raise RuntimeError(f"{found} mails instead of {wanted}")
        time.sleep(0.1)
