import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from prodkit.errors import InvalidArgumentError
from shop_doubles import counted

from ecommerce.orders.adapters.repository import (
    SqlCarts,
    SqlDiscounts,
)
from ecommerce.orders.domain.order import Line, PaymentStatus, Status

pytestmark = pytest.mark.anyio


async def pages(world, user="user-1", size=10):
    found, cursor = [], ""
    while True:
        async with world.database.read() as tx:
            orders, cursor = await world.orders.page(tx, user, size=size, cursor=cursor)
        assert len(orders) <= size
        found.extend(order.id for order in orders)
        if not cursor:
            return found


async def test_an_order_comes_back_as_it_was_kept(world):
    order = await world.place("order-1", ("mug", 2), ("tea", 1), discount_code="TEN")
    assert await world.get() == order
    assert order.totals.discount.amount > 0
    assert [item.name for item in order.items] == ["Mug", "Tea"]


async def test_an_unknown_order_is_none(world):
    assert await world.orders.get(world.database.fetch, "order-nobody") is None


async def test_of_two_moves_at_once_one_happens(world):
    await world.place()

    async def move(to):
        async with world.units() as work:
            return await world.orders.move(work, "order-1", to, world.now())

    answers = await asyncio.gather(
        *(move(to) for to in (Status.CONFIRMED, Status.CONFIRMED, Status.CONFIRMED))
    )
    assert sum(answer is not None for answer in answers) == 1
    assert (await world.get()).version == 2


async def test_a_move_keeps_what_it_does_not_name(world):
    await world.place()
    for to, changes in (
        (Status.CONFIRMED, {"payment": PaymentStatus.PAID, "payment_id": "payment-1"}),
        (Status.CANCELLED, {"reason": "changed my mind"}),
    ):
        async with world.units() as work:
            await world.orders.move(work, "order-1", to, world.now(), **changes)
    order = await world.get()
    assert (order.payment_status, order.payment_id) == (PaymentStatus.PAID, "payment-1")
    assert order.reason == "changed my mind"


async def test_the_payment_is_noted_in_the_expected_state_only(world):
    await world.place()
    async with world.units() as work:
        set_payment = world.orders.set_payment
        waits = await set_payment(work, "order-1", PaymentStatus.PENDING, world.now())
        refused = await set_payment(
            work, "order-1", PaymentStatus.REFUNDED, world.now(), while_in=Status.CANCELLED
        )
    assert (waits.payment_status, waits.version) == (PaymentStatus.PENDING, 2)
    assert refused is None
    assert await world.get() == waits


async def test_pages_hold_every_order_once_newest_first(world):
    for number in range(25):
        await world.place(f"order-{number:02}")
        if number % 3:  # some are of the same moment
            await world.clock.advance(1)
    await world.placing.keep(
        replace(await world.get("order-00"), id="order-x", user_id="user-2"), _nothing
    )
    for size in (1, 7, 25, 100):
        assert sorted(await pages(world, size=size)) == [f"order-{n:02}" for n in range(25)]
    assert (await pages(world))[0] == "order-24"
    assert await pages(world, user="user-2") == ["order-x"]


async def test_what_is_placed_meanwhile_does_not_shift_the_pages(world):
    for number in range(4):
        await world.place(f"order-{number}")
        await world.clock.advance(1)
    async with world.database.read() as tx:
        _, cursor = await world.orders.page(tx, "user-1", size=2, cursor="")
    await world.place("order-9")
    async with world.database.read() as tx:
        rest, _ = await world.orders.page(tx, "user-1", size=2, cursor=cursor)
    assert [order.id for order in rest] == ["order-1", "order-0"]


async def test_a_cursor_of_ones_own_making_is_refused(world):
    async with world.database.read() as tx:
        with pytest.raises(InvalidArgumentError):
            await world.orders.page(tx, "user-1", size=2, cursor="bm90IG91cnM")


async def test_a_page_of_a_hundred_takes_as_many_statements_as_one_of_ten(world):
    """Scenario 24."""
    for number in range(100):
        await world.place(f"order-{number:03}", ("mug", 1), ("tea", 2))
    used = []
    for size in (10, 100):
        with counted(world.database) as statements:
            async with world.database.read() as tx:
                orders, _ = await world.orders.page(tx, "user-1", size=size, cursor="")
        assert len(orders) == size
        used.append(len([each for each in statements if each.startswith("SELECT")]))
    assert used == [1, 1]


async def test_only_old_orders_that_nobody_pays_for_are_due(world):
    for number, payment in enumerate(PaymentStatus):
        await world.place(f"order-{number}")
        async with world.units() as work:
            await world.orders.set_payment(work, f"order-{number}", payment, world.now())
    await world.place("order-cancelled")
    await world.fulfilment.cancel("order-cancelled", "")
    await world.clock.advance(900)
    await world.place("order-young")
    limit = world.now() - timedelta(seconds=899)
    due = await world.orders.unpaid_since(world.database.fetch, limit, 10)
    named = {f"order-{number}": payment for number, payment in enumerate(PaymentStatus)}
    assert {named[id_] for id_ in due} == {PaymentStatus.UNPAID, PaymentStatus.FAILED}


async def test_a_cart_keeps_its_sequence(world):
    carts = SqlCarts()
    async with world.units() as work:
        for user, product, quantity in (
            ("u-1", "tea", 1),
            ("u-2", "tea", 5),
            ("u-1", "mug", 2),
            ("u-1", "tea", 3),
            ("u-1", "cup", 1),
            ("u-1", "mug", 0),
        ):
            await carts.put(work, user, Line(product, quantity))
        assert await carts.lines(work.execute, "u-1") == [Line("tea", 3), Line("cup", 1)]
        await carts.clear(work, "u-1")
        assert await carts.lines(work.execute, "u-1") == []
        assert await carts.lines(work.execute, "u-2") == [Line("tea", 5)]


async def test_discount_codes(world):
    discounts = SqlDiscounts(world.database)
    assert str(await discounts.share("TEN")) == "0.10"
    assert await discounts.share("") == 0
    with pytest.raises(InvalidArgumentError) as caught:
        await discounts.share("ELEVEN")
    assert caught.value.violations[0].field == "/discount_code"


async def _nothing(work, order):
    pass
