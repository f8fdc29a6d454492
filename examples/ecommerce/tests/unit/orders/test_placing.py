from dataclasses import replace

import pytest
from prodkit.errors import FailedPreconditionError, InvalidArgumentError, PermissionDeniedError

from ecommerce.orders.adapters.repository import SqlCarts
from ecommerce.orders.application.carts import MOST_LINES, Cart
from ecommerce.orders.application.placing import merged, owner
from ecommerce.orders.application.ports import Product
from ecommerce.orders.domain.money import Money
from ecommerce.orders.domain.order import Line, PaymentStatus, Status

pytestmark = pytest.mark.anyio


async def refused(world, *lines, **options):
    with pytest.raises(InvalidArgumentError) as caught:
        await world.place("order-1", *lines, **options)
    assert world.catalog.holds == {}
    assert world.events.all == []
    return caught.value


async def test_holds_the_stock_and_keeps_the_order_with_its_event(world):
    order = await world.place("order-1", ("tea", 1), ("mug", 2))
    assert (order.status, order.payment_status) == (Status.PENDING, PaymentStatus.UNPAID)
    assert await world.get() == order
    assert world.catalog.holds == {"order-1": [Line("mug", 2), Line("tea", 1)]}
    [event] = world.events.all
    assert (event.type, event.subject) == ("order.placed", "order-1")
    assert event.data["total_amount"] == str(order.totals.total)
    assert event.data["items"][0] == {"product_id": "mug", "name": "Mug", "quantity": 2}


async def test_lines_of_one_product_are_one(world):
    order = await world.place("order-1", ("tea", 1), ("mug", 2), ("tea", 3))
    assert [(item.product_id, item.quantity) for item in order.items] == [("mug", 2), ("tea", 4)]
    assert merged([Line("b", 1), Line("a", 1), Line("b", 1)]) == [Line("a", 1), Line("b", 2)]


async def test_products_are_asked_for_once(world):
    await world.place("order-1", ("tea", 1), ("mug", 2), ("tea", 3))
    assert world.catalog.asked == [["mug", "tea"]]


async def test_each_unknown_product_is_named_where_it_was_asked_for(world):
    error = await refused(world, ("mug", 1), ("moon", 1), ("tea", 1), ("sun", 1))
    assert error.reason == "UNKNOWN_PRODUCT"
    assert [v.field for v in error.violations] == ["/items/1/product_id", "/items/3/product_id"]


async def test_an_order_is_in_one_currency(world):
    error = await refused(world, ("mug", 1), ("cup", 1))
    assert error.reason == "MIXED_CURRENCIES"
    assert error.violations[0].description == "mixed currencies: EUR, USD"


async def test_nothing_cannot_be_ordered(world):
    with pytest.raises(InvalidArgumentError) as caught:
        await world.placing.draft(replace(world.wish(), lines=[]))
    assert caught.value.violations[0].field == "/items"


async def test_lines_that_add_up_to_too_much_are_named(world):
    error = await refused(world, ("mug", 600), ("tea", 1), ("mug", 401))
    assert [v.field for v in error.violations] == ["/items/0/quantity", "/items/2/quantity"]
    await world.place("order-1", ("mug", 600), ("mug", 400))


async def test_an_unknown_discount_is_named(world):
    error = await refused(world, ("mug", 1), discount_code="ELEVEN")
    assert error.violations[0].field == "/discount_code"


async def test_closed_accounts_order_nothing(world):
    world.accounts.inactive.add("user-1")
    with pytest.raises(FailedPreconditionError) as caught:
        await world.place()
    assert caught.value.reason == "ACCOUNT_INACTIVE"
    assert world.catalog.holds == {}


async def test_without_stock_there_is_no_order(world):
    world.catalog.errors = [FailedPreconditionError("none left", reason="OUT_OF_STOCK")]
    with pytest.raises(FailedPreconditionError) as caught:
        await world.place()
    assert caught.value.reason == "OUT_OF_STOCK"
    assert await world.placing.find(world.wish()) is None
    assert world.events.all == []


async def test_what_fails_at_the_end_leaves_no_order_and_no_event(world):
    async def fail(work, order):
        raise KeyError

    with pytest.raises(KeyError):
        await world.placing.place(world.wish(), fail)
    assert await world.placing.find(world.wish()) is None
    assert world.events.all == []


async def test_a_wish_is_found_again_once_it_is_an_order(world):
    assert await world.placing.find(world.wish()) is None
    order = await world.place()
    assert await world.placing.find(world.wish()) == order


def test_orders_are_ones_own_unless_one_is_staff():
    assert owner("", "user-1", may_order_for_others=False) == "user-1"
    assert owner("user-1", "user-1", may_order_for_others=False) == "user-1"
    assert owner("user-2", "staff-1", may_order_for_others=True) == "user-2"
    with pytest.raises(PermissionDeniedError) as caught:
        owner("user-2", "user-1", may_order_for_others=False)
    assert caught.value.reason == "FOREIGN_USER"


@pytest.fixture
def cart(world):
    return Cart(database=world.database, units=world.units, carts=SqlCarts(), catalog=world.catalog)


async def test_a_cart_is_priced_when_it_is_looked_at(world, cart):
    await cart.put("user-1", Line("mug", 2))
    await cart.put("user-1", Line("tea", 1))
    world.catalog.known["mug"] = Product("mug", "Mug", Money.of("13.00", "USD"))
    del world.catalog.known["tea"]
    [item] = await cart.priced("user-1")
    assert (item.product_id, str(item.total)) == ("mug", "26.00")
    assert await cart.lines("user-1") == [Line("mug", 2), Line("tea", 1)]


async def test_an_empty_cart_asks_nobody(world, cart):
    assert await cart.priced("user-1") == []
    assert world.catalog.asked == []


async def test_unknown_products_do_not_go_into_a_cart_but_out_of_it(world, cart):
    with pytest.raises(InvalidArgumentError) as caught:
        await cart.put("user-1", Line("moon", 1))
    assert caught.value.violations[0].field == "/product_id"
    await cart.put("user-1", Line("mug", 1))
    del world.catalog.known["mug"]
    await cart.put("user-1", Line("mug", 0))
    assert await cart.lines("user-1") == []


async def test_a_cart_holds_no_more_than_an_order(world, cart):
    for number in range(MOST_LINES + 1):
        world.catalog.known[f"p-{number}"] = Product(f"p-{number}", "P", Money.of(1, "USD"))
    for number in range(MOST_LINES):
        await cart.put("user-1", Line(f"p-{number}", 1))
    with pytest.raises(InvalidArgumentError) as caught:
        await cart.put("user-1", Line(f"p-{MOST_LINES}", 1))
    assert caught.value.reason == "CART_FULL"
    assert len(await cart.lines("user-1")) == MOST_LINES
    await cart.put("user-1", Line("p-0", 7))
