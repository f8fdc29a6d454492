"""One of several processes in which customers buy: by the catalog's own code, or by bare SQL.

    python buyers.py {stock,bare} DSN FIRST COUNT PRODUCTS...

Each of COUNT customers, numbered from FIRST, wants one unit of every product (every other one names
them in the opposite order), holds them, and then buys them. Waits for a line on standard input
before it begins; prints what became of them as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
from prodkit.data.database import Database, PostgresOptions
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import FailedPreconditionError
from prodkit.messaging.outbox import Outbox

from ecommerce.catalog.stock import Stock

AT_ONCE = 8
LIFETIME = 900.0
Buy = Callable[[str, Sequence[str]], Awaitable[bool]]


async def by_stock(dsn: str) -> Buy:
    options = PostgresOptions(pool=AT_ONCE, statement=20.0, lock=15.0)
    database = Database(dsn, postgres=options, wait=20.0)
    await database.start()
    units = UnitOfWork(database, Outbox("/catalog"))
    stock = Stock(database, units, lifetime=LIFETIME, now=time.time)

    async def buy(order_id: str, products: Sequence[str]) -> bool:
        try:
            await stock.reserve(order_id, [(product, 1) for product in products])
        except FailedPreconditionError:
            return False
        await stock.commit(order_id)
        return True

    return buy


async def by_sql(dsn: str) -> Buy:
    """The same statements in the same transactions, by the driver alone."""
    pool = await asyncpg.create_pool(dsn, min_size=AT_ONCE, max_size=AT_ONCE)

    async def buy(order_id: str, products: Sequence[str]) -> bool:
        async with pool.acquire() as connection:
            return await _reserve(connection, order_id, products) and await _sell(
                connection, order_id
            )

    return buy


async def _reserve(connection: asyncpg.Connection, order_id: str, products: Sequence[str]) -> bool:
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(
        "INSERT INTO reservations (order_id, status, expires_at) VALUES ($1, 'reserved', $2)"
        " ON CONFLICT DO NOTHING",
        order_id,
        time.time() + LIFETIME,
    )
    await connection.executemany(
        "INSERT INTO reservation_lines (order_id, product_id, quantity) VALUES ($1, $2, 1)",
        [(order_id, product) for product in products],
    )
    for product in sorted(products):
        taken = await connection.execute(
            "UPDATE products SET available = available - 1, reserved = reserved + 1"
            " WHERE id = $1 AND available >= 1",
            product,
        )
        if taken == "UPDATE 0":
            await transaction.rollback()
            return False
    await transaction.commit()
    return True


async def _sell(connection: asyncpg.Connection, order_id: str) -> bool:
    async with connection.transaction():
        await connection.fetchrow(
            "SELECT order_id, status, expires_at FROM reservations WHERE order_id = $1 FOR UPDATE",
            order_id,
        )
        await connection.execute(
            "UPDATE reservations SET status = 'sold' WHERE order_id = $1", order_id
        )
        await connection.execute(
            "UPDATE products SET reserved = reserved - (SELECT quantity FROM reservation_lines l"
            " WHERE l.order_id = $1 AND l.product_id = products.id), sold = sold + (SELECT quantity"
            " FROM reservation_lines l WHERE l.order_id = $1 AND l.product_id = products.id)"
            " WHERE id IN (SELECT id FROM products WHERE id IN (SELECT product_id FROM"
            " reservation_lines WHERE order_id = $1) ORDER BY id FOR UPDATE)",
            order_id,
        )
    return True


async def main(way: str, dsn: str, first: int, count: int, products: list[str]) -> None:
    buy = await {"stock": by_stock, "bare": by_sql}[way](dsn)
    outcomes: Counter[str] = Counter()
    numbers = iter(range(first, first + count))

    async def customer() -> None:
        for number in numbers:
            wanted = products if number % 2 else products[::-1]
            try:
                outcome = "sold" if await buy(f"{way}-{number}", wanted) else "refused"
            except Exception as error:
                outcome = f"{type(error).__name__}: {error}"
            outcomes[outcome] += 1

    print("ready", flush=True)
    sys.stdin.readline()
    began = time.time()
    await asyncio.gather(*(customer() for _ in range(AT_ONCE)))
    print(json.dumps({"began": began, "ended": time.time(), **outcomes}), flush=True)


if __name__ == "__main__":
    _, way, dsn, first, count, *products = sys.argv
    asyncio.run(main(way, dsn, int(first), int(count), products))
