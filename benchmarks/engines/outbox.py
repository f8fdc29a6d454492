"""An event with each transaction: transactions a second, over the same ones without the event."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
from benchmarks.engines.measure import Contestant, Once, Row
from sqlalchemy import Column, Integer, MetaData, String, Table, insert
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import registry

from prodkit.data.database import Database, PostgresOptions
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.messaging import outbox as outbox_tables
from prodkit.messaging.event import Event, new_id
from prodkit.messaging.outbox import Outbox, outbox
from prodkit.testing.servers import PrivatePostgres

CALLERS = 20
BUDGET = 0.80
METADATA = MetaData()
ORDERS = Table(
    "orders",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("user_id", String(64), nullable=False),
    Column("status", String(20), nullable=False),
    Column("cents", Integer, nullable=False),
)
DATA = {"user_id": "u-1", "total": "129.80", "items": [{"product_id": "p-1", "quantity": 2}]}
ORDER_SQL = "INSERT INTO orders (id, user_id, status, cents) VALUES ($1, $2, $3, $4)"
EVENT_SQL = (
    "INSERT INTO outbox (id, type, subject, partition, body, traceparent, request_id, created_at,"
    " attempts, next_attempt, error) VALUES ($1, $2, $3, $4, $5, '', '', $6, 0, 0, '')"
)
NOTE = """\
One INSERT of an order and a COMMIT, on {callers} connections; the other contestant of each pair
inserts the event's row too, in the same transaction. The least favorable case: a transaction that
does more has its event for less. fsync is off, so that the disk hides nothing."""


@asynccontextmanager
async def opened() -> AsyncIterator[list[Row]]:
    async with AsyncExitStack() as stack:
        dsn = stack.enter_context(PrivatePostgres()).dsn
        database = Database(dsn, postgres=PostgresOptions(pool=CALLERS))
        await database.start()
        stack.push_async_callback(database.stop)
        await database.create_all(METADATA, outbox_tables.metadata)
        units = UnitOfWork(database, Outbox("/orders"))
        pool = await asyncpg.create_pool(dsn, min_size=CALLERS, max_size=CALLERS)
        stack.push_async_callback(pool.close)
        url = dsn.replace("postgresql://", "postgresql+asyncpg://")
        engine = create_async_engine(url, pool_size=CALLERS)
        stack.push_async_callback(engine.dispose)
        yield [
            Row(
                "An outbox row with each transaction, PostgreSQL",
                CALLERS,
                [
                    *pair("prodkit", *unit_of_work(units), name="prodkit"),
                    *pair("asyncpg by hand", *by_hand(pool)),
                    *pair("SQLAlchemy Core", *core(engine)),
                    *pair("SQLAlchemy ORM", *orm(engine)),
                ],
                BUDGET,
                NOTE.format(callers=CALLERS),
            )
        ]


def pair(kind: str, without: Once, along: Once, name: str = "") -> list[Contestant]:
    """Return the two contestants of one way to do it."""
    bare = f"{kind}, no event"
    return [
        Contestant(bare, lambda: without, over=bare),
        Contestant(name or f"{kind}, event", lambda: along, over=bare),
    ]


def order() -> dict[str, Any]:
    return {"id": new_id(), "user_id": "u-1", "status": "pending", "cents": 12980}


def row_of(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "subject": event.subject,
        "partition": 3,
        "body": event.to_json(),
        "traceparent": "",
        "request_id": "",
        "created_at": 1.0,
    }


def unit_of_work(units: UnitOfWork[Event]) -> tuple[Once, Once]:
    statement = insert(ORDERS)

    async def without() -> None:
        async with units() as work:
            await work.execute(statement, order())

    async def along() -> None:
        row = order()
        async with units() as work:
            await work.execute(statement, row)
            work.record(Event("order.created", row["id"], DATA))

    return without, along


def by_hand(pool: Any) -> tuple[Once, Once]:
    """The floor: prepared statements of the driver, and nothing around them."""

    async def without() -> None:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(ORDER_SQL, *order().values())

    async def along() -> None:
        row = order()
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(ORDER_SQL, *row.values())
            event = Event("order.created", row["id"], DATA, source="/orders")
            body = event.to_json()
            await connection.execute(EVENT_SQL, event.id, event.type, event.subject, 3, body, 1.0)

    return without, along


def core(engine: Any) -> tuple[Once, Once]:
    orders, events = insert(ORDERS), insert(outbox).inline()

    async def without() -> None:
        async with engine.begin() as connection:
            await connection.execute(orders, order())

    async def along() -> None:
        row = order()
        async with engine.begin() as connection:
            await connection.execute(orders, row)
            event = Event("order.created", row["id"], DATA, source="/orders")
            await connection.execute(events, row_of(event))

    return without, along


class Order:
    """A mapped class; SQLAlchemy writes its constructor."""


class OutboxRow:
    """The outbox as a mapped class, as most who have one map it."""


def orm(engine: Any) -> tuple[Once, Once]:
    mapped = registry()
    mapped.map_imperatively(Order, ORDERS)
    mapped.map_imperatively(OutboxRow, outbox)
    sessions = async_sessionmaker(engine, expire_on_commit=False)

    def new(kind: type, values: dict[str, Any]) -> Any:
        made = kind()
        for name, value in values.items():
            setattr(made, name, value)
        return made

    async def without() -> None:
        async with sessions.begin() as session:
            session.add(new(Order, order()))

    async def along() -> None:
        row = order()
        async with sessions.begin() as session:
            session.add(new(Order, row))
            event = Event("order.created", row["id"], DATA, source="/orders")
            session.add(new(OutboxRow, row_of(event)))

    return without, along
