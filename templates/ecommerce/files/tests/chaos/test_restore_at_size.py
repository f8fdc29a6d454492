"""Scenario 25 with 100,000 orders: how long it takes, and that the sums hold."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from bulk import multiply
from harness import Shop, eventually
from prodkit.testing.servers import PrivatePostgres
from servers import SERVICES, EnginesShop, execute

#: With the one real order and the welcome mails, what the audit reads of the mailbox: 100,000.
COUNT = 99_990
#: Seconds that a restore of 100,000 orders may take.
LIMIT = 300.0


@pytest.fixture
def postgres() -> Iterator[PrivatePostgres]:
    with PrivatePostgres(durable=True) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    folder = tmp_path / "shop"
    folder.mkdir()
    if request.param == "sqlite":
        shop = Shop(folder)
    else:
        server = request.getfixturevalue("postgres")
        for service in SERVICES:
            server.ask(f"CREATE DATABASE shop_{service}")
        url = server.dsn.removesuffix("/postgres") + "/shop_{service}"
        shop = EnginesShop(folder, database_url=url)
    yield shop
    shop.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_25_a_hundred_thousand_orders(shop: Shop, tmp_path: Path) -> None:
    _fill(shop)
    before = _outside(shop)

    took = {"backup": _timed(shop, "backup", tmp_path / "b")}
    size = sum(path.stat().st_size for path in (tmp_path / "b").iterdir())
    _lose(shop)
    took["restore"] = _timed(shop, "restore", tmp_path / "b")
    print(
        f"\n25 restore drill, {COUNT + 1} orders, {size / 1e6:.0f} MB:"
        f" {', '.join(f'{what} {seconds:.1f} s' for what, seconds in took.items())}"
    )
    shop.start_shop()
    code, told = shop.audit(patience=60)
    print(told)
    assert code == 0
    assert _outside(shop) == before, "sent or paid twice"
    assert took["restore"] <= LIMIT


def _fill(shop: Shop) -> None:
    """Sell once, and have it in the books 100,000 times."""
    shop.start()
    product, buyer = shop.product(inventory=COUNT + 10), shop.customer()
    order = shop.checkout(buyer, product).json()["order"]
    assert shop.audit(patience=30)[0] == 0
    eventually(lambda: any(order["id"] in mail["subject"] for mail in shop.mails()))
    assert shop.shop is not None
    assert shop.shop.terminate() == 0
    multiply(shop, order["id"], order["payment_id"], product, COUNT)


def _timed(shop: Shop, *command: object) -> float:
    began = time.monotonic()
    code, said = shop.run(*command, within=3 * LIMIT)
    assert code == 0, said
    return time.monotonic() - began


def _lose(shop: Shop) -> None:
    """Remove all that the shop kept; the outside world keeps what it saw."""
    if isinstance(shop, EnginesShop):
        server = shop.database_url.rpartition("/")[0] + "/postgres"
        execute(server, *(f"DROP DATABASE shop_{service}" for service in SERVICES), "SELECT 1")
    for path in (shop.folder / "var").glob("*.db*"):
        if not path.name.startswith("sandbox"):
            path.unlink()


def _outside(shop: Shop) -> list[tuple[int]]:
    """Count what the world has seen of the shop."""
    with closing(sqlite3.connect(shop.folder / "var" / "sandbox.db", timeout=30.0)) as sandbox:
        return [
            sandbox.execute(f"SELECT count(*) FROM {table}").fetchone()
            for table in ("ledger", "messages", "authorizations")
        ]
