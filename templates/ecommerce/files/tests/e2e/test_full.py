"""`demo-full`: the shop on real engines, its processes killed, its end complete."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from full import FullShop, alive
from harness import eventually
from terminal import CREATE_ORDER, CREATE_PRODUCT, PAY, REGISTER, Terminal

pytestmark = pytest.mark.timeout(1200)
KILLED = ("orders-1", "gateway-1")


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullShop]:
    shop = FullShop(tmp_path)
    try:
        yield shop.start()
    finally:
        shop.close()


@pytest.mark.slow  # a minute of processor time: fourteen processes start, two of them twice
def test_it_sells_while_its_processes_are_killed_and_leaves_nothing_behind(
    full: FullShop, tmp_path: Path
) -> None:
    terminal = Terminal(full.url, tmp_path)
    user = terminal.json(REGISTER, 201)
    john = terminal.login("john.doe@example.com", "securepassword")
    staff = terminal.login("staff@example.com", "demo-password")
    product = terminal.json(CREATE_PRODUCT, 201, **staff)
    ids = {"user-123": user["id"], "product-456": product["id"]}

    def buy() -> bool:
        """Order and pay by curl; false where the shop asked to try again."""
        status, body = terminal.run(CREATE_ORDER, **ids, **john)
        assert status in {201, 503, 504}, body
        if status != 201:
            return False
        order = json.loads(body)["id"]
        status, body = terminal.run(PAY, **{"order-789": order}, **john)
        assert status in {201, 409, 503, 504}, body
        if status == 201:
            customer = {"authorization": f"Bearer {john['<jwt_token>']}"}
            path = f"/api/v1/orders/{order}"
            eventually(
                lambda: full.api.get(path, headers=customer).json()["status"] == "confirmed",
                within=60,
            )
        return status == 201

    assert buy()
    _a_stream_is_not_held_back(full)
    _its_folder_is_its_own(full)

    before = full.pids()
    for name in KILLED:
        full.kill_process(name)
    eventually(buy, within=60)
    eventually(lambda: _are_back(full.pids(), before), within=60)
    eventually(lambda: all(map(full.ready, KILLED)), within=120)
    assert buy()
    code, table = full.run("audit", "--patience", 60)
    assert code == 0, table

    assert full.shop is not None
    family = full.family()
    full.shop.signal(signal.SIGINT)
    assert full.shop.wait(120) == 0, full.shop.log.read_text()[-4000:]
    eventually(lambda: not any(map(alive, family)), within=30)
    told = full.shop.log.read_text()
    assert "exited: orders-1 (terminated by SIGKILL" in told
    assert [name for name in before if f"stopped: {name} (exit status 0)" not in told] == []


def _are_back(now: dict[str, int], before: dict[str, int]) -> bool:
    """Say whether everybody runs, the killed under new numbers."""
    return now.keys() == before.keys() and all(
        (now[name] != before[name]) == (name in KILLED) for name in before
    )


def _a_stream_is_not_held_back(full: FullShop) -> None:
    """See the first event of an order's stream while the stream is open."""
    customer = full.customer()
    order = full.place(customer, full.product())
    headers = customer | {"accept": "text/event-stream"}
    path = f"/api/v1/orders/{order['id']}/events"
    with full.api.stream("GET", path, headers=headers) as stream:
        assert stream.status_code == 200
        first = next(stream.iter_lines())
    assert first == "event: message"


def _its_folder_is_its_own(full: FullShop) -> None:
    other = FullShop(full.folder)
    code, told = other.run("demo-full")
    other.api.close()
    other.sandbox_api.close()
    assert (code, "another demo-full" in told) == (2, True), told


@pytest.mark.slow
def test_a_launcher_that_is_killed_leaves_nothing_behind(full: FullShop) -> None:
    family = full.family()
    assert full.shop is not None
    full.shop.kill()
    eventually(lambda: not any(map(alive, family)), within=120)


@pytest.mark.slow
def test_an_orphan_of_nginx_does_not_keep_its_port(full: FullShop) -> None:
    full.kill_process("nginx")
    eventually(lambda: "exited: nginx (terminated by SIGKILL" in full.logs())
    eventually(lambda: "nginx" in full.pids(), within=60)
    assert eventually(lambda: _ready(full))


def _ready(full: FullShop) -> bool:
    try:
        return full.api.get("/health/ready").status_code == 200
    except httpx2.TransportError:
        return False


def test_a_port_in_use_is_named_before_anything_starts(tmp_path: Path) -> None:
    shop = FullShop(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", shop.port))
        taken.listen()
        code, told = shop.run("demo-full")
    shop.close()
    assert (code, told) == (2, f"cannot start: port {shop.port} is in use; set SHOP_PORT\n")
    assert not shop.kept.exists()
