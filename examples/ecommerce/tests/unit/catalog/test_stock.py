import asyncio

import pytest
from prodkit.errors import FailedPreconditionError
from shop_doubles import counted
from sqlalchemy import insert, select, update

from ecommerce.catalog import stock
from ecommerce.catalog.tables import products, reservation_lines, reservations
from ecommerce.contract.catalog.v1 import catalog_pb2 as pb

pytestmark = pytest.mark.anyio


async def counts(shop, product_id):
    columns = products.c.available, products.c.reserved, products.c.sold
    async with shop.database.read() as tx:
        return tuple((await tx.execute(select(*columns).where(products.c.id == product_id))).one())


async def test_200_buyers_for_50_units_are_50(shop):
    """Scenario 1 in small; whoever looks meanwhile never sees less than nothing."""
    product = await shop.add(inventory=50)
    seen, done = [], asyncio.Event()

    async def look():
        while not done.is_set():
            seen.append(await counts(shop, product.id))

    async def buy(number):
        order = f"order-{number}"
        await shop.stock.reserve(order, [(product.id, 1)])
        await shop.stock.commit(order)

    looking = asyncio.create_task(look())
    answers = await asyncio.gather(*(buy(n) for n in range(200)), return_exceptions=True)
    done.set()
    await looking
    refused = [answer for answer in answers if answer is not None]
    assert len(refused) == 150
    assert {error.reason for error in refused} == {"OUT_OF_STOCK"}
    assert {error.metadata["product_id"] for error in refused} == {product.id}
    assert await counts(shop, product.id) == (0, 0, 50)
    assert all(sum(each) == 50 and min(each) >= 0 for each in seen)


async def test_baskets_in_opposite_sequence_take_all_or_nothing(shop):
    """Scenario 2 in small."""
    one, two = await shop.add(inventory=30), await shop.add(inventory=20)

    async def buy(number):
        lines = [(one.id, 1), (two.id, 1)]
        await shop.stock.reserve(f"order-{number}", lines if number % 2 else lines[::-1])

    answers = await asyncio.gather(*(buy(n) for n in range(40)), return_exceptions=True)
    assert sum(answer is None for answer in answers) == 20
    assert await counts(shop, one.id) == (10, 20, 0)
    assert await counts(shop, two.id) == (0, 20, 0)


async def test_the_same_reservation_at_once_is_made_once(shop):
    product = await shop.add(inventory=5)
    made = await asyncio.gather(
        *(shop.stock.reserve("order-1", [(product.id, 2)]) for _ in range(10))
    )
    assert len(set(made)) == 1
    assert await counts(shop, product.id) == (3, 2, 0)


async def test_nothing_is_taken_where_one_line_lacks(shop):
    one, two = await shop.add(inventory=5), await shop.add(inventory=1)
    with pytest.raises(FailedPreconditionError) as caught:
        await shop.stock.reserve("order-1", [(one.id, 2), (two.id, 2)])
    assert caught.value.metadata == {"product_id": two.id}
    assert await counts(shop, one.id) == (5, 0, 0)
    await shop.stock.reserve("order-1", [(one.id, 2), (two.id, 1)])


async def test_a_sale_is_two_statements_and_a_repeated_one_changes_nothing(shop):
    product = await shop.add(inventory=5)
    made = await shop.stock.reserve("order-1", [(product.id, 2)])
    with counted(shop.database) as statements:
        sold = await shop.stock.commit("order-1")
    assert [each.split()[:2] for each in statements if not each.startswith("BEGIN")] == [
        ["UPDATE", "reservations"],
        ["UPDATE", "products"],
    ]
    assert sold == await shop.stock.commit("order-1")
    assert (sold.status, sold.expires_at) == ("sold", made.expires_at)
    assert await counts(shop, product.id) == (3, 0, 2)


async def test_what_was_reserved_while_a_sale_looked_for_it_is_sold(shop, monkeypatch):
    product = await shop.add(inventory=5)
    locked = stock._locked

    async def reserved_meanwhile(tx, order_id):
        monkeypatch.undo()
        held = {"order_id": order_id, "status": "reserved", "expires_at": 1.0}
        await tx.insert_new(reservations, held)
        await tx.execute(
            insert(reservation_lines).values(order_id=order_id, product_id=product.id, quantity=2)
        )
        await tx.execute(update(products).values(available=3, reserved=2))
        return await locked(tx, order_id)

    monkeypatch.setattr(stock, "_locked", reserved_meanwhile)
    assert (await shop.stock.commit("order-1")).status == "sold"
    assert await counts(shop, product.id) == (3, 0, 2)


async def test_an_unknown_product_is_not_in_stock(shop):
    with pytest.raises(FailedPreconditionError) as caught:
        await shop.stock.reserve("order-1", [("product-nobody", 1)])
    assert caught.value.reason == "OUT_OF_STOCK"


async def test_a_release_that_comes_first_forbids_the_reservation(shop):
    product = await shop.add()
    await shop.stock.release("order-1")
    with pytest.raises(FailedPreconditionError) as caught:
        await shop.stock.reserve("order-1", [(product.id, 1)])
    assert caught.value.reason == "RESERVATION_RELEASED"


async def test_what_is_due_is_held_until_the_sweep(shop, clock, events):
    product = await shop.add(inventory=5)
    for order in ("order-1", "order-2"):
        await shop.stock.reserve(order, [(product.id, 1)])
    await clock.advance(901)
    assert (await shop.stock.commit("order-1")).status == "sold"
    assert await shop.stock.sweep() == 1
    assert await counts(shop, product.id) == (4, 0, 1)
    with pytest.raises(FailedPreconditionError):
        await shop.stock.commit("order-2")
    assert [event.subject for event in events.of("stock.reservation_expired")] == ["order-2"]


async def test_sweeps_and_sales_at_once_are_of_one_mind(shop, clock):
    product = await shop.add(inventory=20)
    for number in range(20):
        await shop.stock.reserve(f"order-{number}", [(product.id, 1)])
    await clock.advance(901)
    answers = await asyncio.gather(
        shop.stock.sweep(),
        shop.stock.sweep(),
        *(shop.stock.commit(f"order-{number}") for number in range(20)),
        return_exceptions=True,
    )
    sold = sum(not isinstance(answer, Exception) for answer in answers[2:])
    assert await counts(shop, product.id) == (20 - sold, 0, sold)


async def test_a_sale_takes_as_many_statements_for_a_hundred_lines_as_for_one(shop):
    """Scenario 24, of what can be one statement."""
    ids = [(await shop.add(f"Thing {number}")).id for number in range(100)]
    used = []
    for order, count in (("order-1", 1), ("order-2", 100)):
        await shop.stock.reserve(order, [(id_, 1) for id_ in ids[:count]])
        with counted(shop.database) as statements:
            await shop.stock.commit(order)
            await shop.stock.release(order)
        used.append(len(statements))
    assert used[0] == used[1]


async def test_stock_as_the_contract_shows_it(shop, clock):
    product = await shop.add()
    lines = [pb.StockLine(product_id=product.id, quantity=2)] * 2
    held = await shop.holds.Reserve(pb.ReserveRequest(order_id="order-1", lines=lines), None)
    assert (held.order_id, held.status) == ("order-1", "reserved")
    assert held.expires_at.ToNanoseconds() == int((clock.wall() + 900) * 1e9)
    assert await counts(shop, product.id) == (46, 4, 0)
    sold = await shop.holds.Commit(pb.CommitRequest(order_id="order-1"), None)
    assert sold.status == "sold"
    gone = await shop.holds.Release(pb.ReleaseRequest(order_id="order-1"), None)
    assert gone.status == "released"
    assert await counts(shop, product.id) == (50, 0, 0)
