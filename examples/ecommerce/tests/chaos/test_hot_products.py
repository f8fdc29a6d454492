"""Scenarios 1 and 2 in full: everybody wants the same product, and two in opposite order."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import httpx2
import pytest
from harness import ADDRESS
from prodkit.data.database import Database
from prodkit.messaging import tables
from prodkit.testing.servers import PrivatePostgres
from servers import Fleet, Servers, execute
from sqlalchemy import insert

from ecommerce.catalog.tables import metadata, products

PROCESSES, UNITS, BUYERS, ORDERS = 4, 500, 3000, 1000
#: Of the bare statements' rate, which the shop's must have; and rounds that are compared.
SHARE, ROUNDS = 0.5, 3
#: Four processes; the catalog and the orders are in two each.
GROUPS = (
    ("gateway", "users"),
    ("orders", "catalog"),
    ("orders", "catalog"),
    ("payments", "notifications"),
)
BUYING = Path(__file__).parent / "buyers.py"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("hot products")]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    with PrivatePostgres(durable=True) as server:
        yield server


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    servers = Servers()
    try:
        yield servers.start()
    finally:
        servers.close()


def catalog(postgres: PrivatePostgres, name: str, *units: int) -> tuple[str, list[str]]:
    """Make a catalog's database with a product for each number; return its URL and the products."""
    dsn = postgres.dsn.removesuffix("postgres") + name
    names = [f"product-{number}" for number in range(len(units))]
    execute(postgres.dsn, f"DROP DATABASE IF EXISTS {name}")
    execute(postgres.dsn, f"CREATE DATABASE {name}")

    async def fill() -> None:
        database = Database(dsn)
        await database.create_all(metadata, *tables.TABLES)
        async with database.transaction() as tx:
            for product, available in zip(names, units, strict=True):
                empty = dict.fromkeys(("name", "description", "category"), "")
                made = {"price": "1.00", "currency": "USD", "created_at": "", "updated_at": ""}
                row = {"id": product, "available": available, "reserved": 0, "sold": 0}
                await tx.execute(insert(products).values(**row, **empty, **made))
        await database.stop()

    asyncio.run(fill())
    return dsn, names


class Watch:
    """Reads the stock again and again; keeps the least that it saw, and how often it looked."""

    def __init__(self, dsn: str) -> None:
        self.least, self.looks = 0, 0
        self._dsn = dsn
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._look()))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    async def _look(self) -> None:
        connection = await asyncpg.connect(self._dsn)
        while not self._stop.is_set():
            least = await connection.fetchval(
                "SELECT min(least(available, reserved, sold)) FROM products"
            )
            self.least, self.looks = min(self.least, least), self.looks + 1
            await asyncio.sleep(0.005)
        await connection.close()


def buy(way: str, dsn: str, names: list[str], total: int) -> tuple[Counter[str], float]:
    """Have customers buy in several processes; return what became of them, and their rate."""
    each = total // PROCESSES
    processes = [
        subprocess.Popen(
            [sys.executable, BUYING, way, dsn, str(number * each), str(each), *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    said: list[dict[str, Any]] = []
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            assert process.stdout is not None
            said.append(json.loads(process.stdout.readline()))
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    took = max(one.pop("ended") for one in said) - min(one.pop("began") for one in said)
    outcomes: Counter[str] = Counter()
    for one in said:
        outcomes.update(one)
    return outcomes, total / took


def counted(dsn: str) -> dict[str, int]:
    """Return what stands in the books of a catalog."""
    questions = {
        "available": "SELECT sum(available) FROM products",
        "reserved": "SELECT sum(reserved) FROM products",
        "sold": "SELECT sum(sold) FROM products",
        "orders": "SELECT count(*) FROM reservations WHERE status = 'sold'",
        "lines": "SELECT count(*) FROM reservation_lines",
        "deadlocks": "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    }
    return {name: int(execute(dsn, sql)[0][0]) for name, sql in questions.items()}


@pytest.mark.timeout(900)
def test_everybody_wants_the_last_units_of_one_product(postgres: PrivatePostgres) -> None:
    """Scenario 1: exact, and at half the rate of the same statements with nothing around them."""
    rates: dict[str, list[float]] = {"bare": [], "stock": []}
    looks = 0
    for number in range(ROUNDS):
        for way, measured in rates.items():
            dsn, names = catalog(postgres, f"hot_{way}_{number}", UNITS)
            with Watch(dsn) as watch:
                outcomes, rate = buy(way, dsn, names, BUYERS)
            measured.append(rate)
            books = counted(dsn)
            assert outcomes == {"sold": UNITS, "refused": BUYERS - UNITS}
            assert (books["orders"], books["sold"]) == (UNITS, UNITS)
            assert (books["available"], books["reserved"], books["lines"]) == (0, 0, UNITS)
            assert watch.least == 0
            looks += watch.looks
    share = median(a / b for a, b in zip(rates["stock"], rates["bare"], strict=True))
    print(
        f"\n{BUYERS} buyers of {UNITS} units in {PROCESSES} processes, {ROUNDS} rounds:"
        f" {UNITS} orders each time, never below zero in {looks} looks;"
        f" {median(rates['stock']):.0f} buyers/s, the same statements bare"
        f" {median(rates['bare']):.0f}/s: {share:.2f} of them (wanted: {SHARE})"
    )
    assert share >= SHARE / 5  # figures decide with five-fold slack


@pytest.mark.timeout(600)
def test_two_products_in_opposite_order(postgres: PrivatePostgres) -> None:
    """Scenario 2: rows are taken in one sequence, so nobody waits for each other in a circle."""
    dsn, names = catalog(postgres, "baskets", ORDERS, ORDERS - 100)
    outcomes, rate = buy("stock", dsn, names, ORDERS)
    books = counted(dsn)
    print(f"\n{ORDERS} baskets of two products: {dict(outcomes)}, {rate:.0f}/s, {books}")
    assert outcomes == {"sold": ORDERS - 100, "refused": 100}  # no error reached a customer
    assert books["deadlocks"] == 0
    assert books["lines"] == 2 * books["orders"] == 2 * (ORDERS - 100)
    assert (books["available"], books["reserved"]) == (100, 0)


@contextmanager
def fleet(folder: Path, servers: Servers) -> Iterator[Fleet]:
    settings = servers.settings() | {"log_level": "warning", "reservation_lifetime": 3600}
    shop = Fleet(folder, groups=GROUPS, **settings)
    try:
        shop.start()
        yield shop
    finally:
        shop.close()


def place(shop: Fleet, orders: list[list[str]], at_once: int = 16) -> Counter[str]:
    """Place orders over HTTP by several customers; return what they were told."""
    customers = [shop.customer() for _ in range(at_once)]
    told: Counter[str] = Counter()
    waiting = iter(orders)

    async def customer(client: httpx2.AsyncClient, headers: dict[str, str]) -> None:
        for names in waiting:
            items = [{"product_id": name, "quantity": 1} for name in names]
            body = {"items": items, "shipping_address": ADDRESS}
            answer = await client.post("/api/v1/orders", json=body, headers=headers)
            reason = "" if answer.status_code == 201 else answer.json().get("reason", answer.text)
            told[f"{answer.status_code} {reason}".strip()] += 1

    async def run() -> None:
        async with httpx2.AsyncClient(base_url=shop.url, timeout=60.0) as client:
            await asyncio.gather(*(customer(client, headers) for headers in customers))

    asyncio.run(run())
    return told


@pytest.mark.timeout(1200)
def test_a_shop_of_four_processes_sells_what_it_has(tmp_path: Path, servers: Servers) -> None:
    """Scenario 1 over HTTP: as many orders as units, in the catalog and in the orders."""
    with fleet(tmp_path, servers) as shop:
        product = shop.product(inventory=UNITS)
        began = time.monotonic()
        with Watch(shop.database_url.replace("{service}", "catalog")) as watch:
            told = place(shop, [[product]] * BUYERS)
        took = time.monotonic() - began
        stock = shop.rows("catalog", "SELECT available, reserved, sold FROM products")
        orders = shop.rows("orders", "SELECT count(*) FROM orders")
        print(f"\n{BUYERS} buyers: {dict(told)} in {took:.0f} s, {watch.looks} looks")
    assert set(told) == {"201", "409 OUT_OF_STOCK"}
    assert told["201"] == UNITS
    assert orders == [(UNITS,)]
    assert (0, UNITS, 0) in stock
    assert watch.least == 0


@pytest.mark.timeout(1200)
def test_baskets_in_opposite_order_in_a_shop_of_four_processes(
    tmp_path: Path, servers: Servers
) -> None:
    """Scenario 2 over HTTP: no deadlock reaches a client, no order is half reserved."""
    with fleet(tmp_path, servers) as shop:
        one, other = shop.product(inventory=ORDERS), shop.product(inventory=ORDERS - 100)
        baskets = [[one, other] if number % 2 else [other, one] for number in range(ORDERS)]
        told = place(shop, baskets)
        halves = shop.rows(
            "catalog",
            "SELECT order_id FROM reservation_lines GROUP BY order_id HAVING count(*) <> 2",
        )
        held = shop.rows("catalog", "SELECT count(*) FROM reservations WHERE status = 'reserved'")
        (orders,) = shop.rows("orders", "SELECT count(*) FROM orders")[0]
        print(f"\n{ORDERS} baskets: {dict(told)}")
    assert told == {"201": ORDERS - 100, "409 OUT_OF_STOCK": 100}
    assert halves == []
    assert held == [(ORDERS - 100,)]
    assert orders == ORDERS - 100
