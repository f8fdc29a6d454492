"""Two processes on one PostgreSQL do to its rows what one writer of SQLite did."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace

import pytest
from prodkit.data.database import Database
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import ServiceError
from prodkit.messaging import outbox
from prodkit.messaging.outbox import Outbox
from prodkit.pipeline import Pipeline
from prometheus_client import CollectorRegistry
from servers import Servers
from sqlalchemy import MetaData, insert, select

from ecommerce.catalog import tables as catalog
from ecommerce.catalog.demo import GOODS, DemoProducts
from ecommerce.catalog.stock import RELEASED, RESERVED, SOLD, Stock
from ecommerce.notifications import tables as notifications
from ecommerce.notifications.dispatch import Dispatcher
from ecommerce.notifications.metrics import NotificationMetrics
from ecommerce.orders.adapters import tables as orders
from ecommerce.orders.adapters.repository import SqlCarts
from ecommerce.orders.domain.order import Line

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def url(servers: Servers) -> str:
    """The URL of databases for this module, by `{service}`."""
    return servers.database_url()


@pytest.fixture
async def processes(url: str) -> AsyncIterator[Callable[..., object]]:
    """Open a database as two processes would."""
    opened: list[Database] = []

    async def open_both(service: str, *metadata: MetaData) -> list[Database]:
        for _ in range(2):
            opened.append(Database(url.replace("{service}", service), wait=30.0))
            await opened[-1].start()
        await opened[-1].create_all(outbox.metadata, *metadata)
        return opened

    yield open_both
    for each in opened:
        await each.stop()


def stocks(databases: list[Database]) -> list[Stock]:
    def one(database: Database) -> Stock:
        units = UnitOfWork(database, Outbox("/services/catalog"))
        return Stock(database, units, lifetime=900.0, now=lambda: 1000.0)

    return [one(database) for database in databases]


async def goods(database: Database, prefix: str, count: int, units: int) -> list[str]:
    texts = ("name", "description", "price", "currency", "category", "created_at", "updated_at")
    rows = [
        {"id": f"{prefix}-{n}", "available": units, "reserved": 0, "sold": 0}
        | dict.fromkeys(texts, "x")
        for n in range(count)
    ]
    async with database.transaction() as tx:
        await tx.execute(insert(catalog.products), rows)
    return [str(row["id"]) for row in rows]


async def counts(database: Database, prefix: str) -> list[tuple[int, int, int]]:
    table = catalog.products
    query = select(table.c.available, table.c.reserved, table.c.sold)
    async with database.read() as tx:
        found = await tx.execute(query.where(table.c.id.startswith(prefix)))
        return [tuple(row) for row in found]


async def test_stock_is_never_oversold_and_baskets_in_any_order_never_collide(processes) -> None:
    databases = await processes("catalog", catalog.metadata)
    ids = await goods(databases[0], "hot", 2, 30)
    ends: Counter[str] = Counter()

    async def buy(number: int) -> None:
        stock = stocks(databases)[number % 2]
        lines = [(each, 1) for each in (ids if number % 3 else ids[::-1])]
        try:
            await stock.reserve(f"hot-{number}", lines)
            await stock.commit(f"hot-{number}")
        except ServiceError as error:
            ends[error.reason] += 1
        else:
            ends["sold"] += 1

    await asyncio.gather(*(buy(number) for number in range(60)))
    assert ends == {"sold": 30, "OUT_OF_STOCK": 30}
    assert await counts(databases[0], "hot") == [(0, 0, 30), (0, 0, 30)]


async def test_whoever_reserves_sells_and_releases_at_once_moves_stock_once(processes) -> None:
    databases = await processes("catalog", catalog.metadata)
    one, other = stocks(databases)
    (product,) = await goods(databases[0], "cool", 1, 100)
    names = [f"cool-{number}" for number in range(20)]
    for order in names:  # all of them first: what one takes twice, another one had
        await one.reserve(order, [(product, 1)])
    for order in names:
        await asyncio.gather(
            one.commit(order),
            other.commit(order),
            one.release(order),
            other.release(order),
            other.reserve(order, [(product, 1)]),
            return_exceptions=True,
        )
    table = catalog.reservations
    async with databases[0].read() as tx:
        found = await tx.execute(select(table.c.status).where(table.c.order_id.in_(names)))
        states = Counter(found.scalars())
    held = {state: states[state] for state in (RESERVED, SOLD)}
    assert states.keys() <= {RESERVED, SOLD, RELEASED}
    assert await counts(databases[0], "cool") == [
        (100 - sum(held.values()), held[RESERVED], held[SOLD])
    ]


async def test_a_reservation_asked_for_twice_at_once_is_one(processes) -> None:
    databases = await processes("catalog", catalog.metadata)
    (product,) = await goods(databases[0], "twin", 1, 100)
    for number in range(20):
        made = [stock.reserve(f"twin-{number}", [(product, 2)]) for stock in stocks(databases)]
        assert [each.status for each in await asyncio.gather(*made)] == [RESERVED] * 2
    assert await counts(databases[0], "twin") == [(60, 40, 0)]


async def test_the_demo_fills_its_catalog_once(processes) -> None:
    databases = await processes("payments", catalog.metadata)  # an empty one
    units = [UnitOfWork(database, Outbox("/services/catalog")) for database in databases]
    await asyncio.gather(*(DemoProducts(each).start() for each in units))
    assert len(await counts(databases[0], "product-")) == len(GOODS)


async def test_each_mail_is_sent_by_one_of_two_processes(processes) -> None:
    databases = await processes("notifications", notifications.metadata)
    texts = ("user_id", "recipient", "event_id", "event_type", "subject", "body", "created_at")
    rows = [
        {"id": f"n-{n}", "channel": "email", "due_at": 0.0} | dict.fromkeys(texts, "x")
        for n in range(200)
    ]
    async with databases[0].transaction() as tx:
        await tx.execute(insert(notifications.notifications), rows)
    sent: Counter[str] = Counter()

    async def send(id_: str, recipient: str, subject: str, body: str) -> None:
        sent[id_] += 1
        await asyncio.sleep(0.001)

    dispatchers = [
        Dispatcher(
            database,
            {"email": send},
            NotificationMetrics(CollectorRegistry()),
            pipeline=Pipeline(),
            now=lambda: 1000.0,
        )
        for database in databases
    ]
    await asyncio.gather(*(each.send_due() for each in dispatchers * 2))
    assert len(sent) == len(rows)
    assert set(sent.values()) == {1}


async def test_a_cart_that_is_filled_from_two_sides_keeps_all(processes) -> None:
    databases = await processes("orders", orders.metadata)

    async def put(number: int) -> None:
        async with databases[number % 2].transaction() as tx:
            work = SimpleNamespace(tx=tx, execute=tx.execute)
            await SqlCarts().put(work, "user-1", Line(f"product-{number % 5}", 1 + number % 3))

    await asyncio.gather(*(put(number) for number in range(30)))
    lines = await SqlCarts().lines(databases[0].fetch, "user-1")
    assert sorted(line.product_id for line in lines) == [f"product-{n}" for n in range(5)]
