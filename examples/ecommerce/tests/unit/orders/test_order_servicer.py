from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from prodkit.errors import NotFoundError, PermissionDeniedError
from prodkit.policies.claim import CLAIM
from prometheus_client import CollectorRegistry
from shop_doubles import calling

from ecommerce.contract.common.v1.common_pb2 import Address
from ecommerce.contract.orders.v1 import orders_pb2 as pb
from ecommerce.orders.adapters.changes import Changes
from ecommerce.orders.adapters.repository import SqlCarts
from ecommerce.orders.adapters.servicer import OrderServicer
from ecommerce.orders.application.carts import Cart
from ecommerce.orders.application.checkout import DeclinedError
from ecommerce.orders.domain.order import Line
from ecommerce.orders.metrics import OrderMetrics

pytestmark = pytest.mark.anyio
ADDRESS = Address(street="1 Main St", city="Springfield", state="CA", zip="12345", country="US")


class FakePaymentsClient:
    def __init__(self):
        self.prepared = []

    async def prepare(self, user_id, method, details):
        self.prepared.append((user_id, method))
        return f"means-{len(self.prepared)}"


class FakeClaim:
    def __init__(self, id_="c" * 32):
        self.id, self.results = id_, []

    async def complete(self, connection, result):
        assert connection.in_transaction()
        self.results.append(result)


@contextmanager
def under(claim):
    token = CLAIM.set(claim)
    try:
        yield claim
    finally:
        CLAIM.reset(token)


@pytest.fixture
def shop(world):
    registry = CollectorRegistry()
    cart = Cart(database=world.database, units=world.units, carts=SqlCarts(), catalog=world.catalog)
    payments = FakePaymentsClient()
    servicer = OrderServicer(
        database=world.database,
        orders=world.orders,
        placing=world.placing,
        checkout=world.checkout,
        fulfilment=world.fulfilment,
        cart=cart,
        payments=payments,
        changes=Changes(),
        metrics=OrderMetrics(registry),
    )
    return SimpleNamespace(servicer=servicer, cart=cart, payments=payments, registry=registry)


def asked(*lines, **options):
    items = [pb.OrderLine(product_id=p, quantity=n) for p, n in lines or [("mug", 2)]]
    return pb.CreateOrderRequest(items=items, shipping_address=ADDRESS, **options)


async def place(shop, user="user-1", **options):
    with calling(user):
        return await shop.servicer.CreateOrder(asked(**options), None)


async def test_an_order_as_the_contract_shows_it(shop):
    order = await place(shop, discount_code="TEN")
    assert order.id.startswith("order-")
    assert (order.user_id, order.status, order.payment_status) == ("user-1", "pending", "unpaid")
    assert (order.items[0].unit_price, order.items[0].total) == ("12.50", "25.00")
    assert (order.subtotal, order.discount, order.currency) == ("25.00", "2.50", "USD")
    assert order.shipping_method == "standard"
    with calling("user-1"):
        assert await shop.servicer.GetOrder(pb.GetOrderRequest(id=order.id), None) == order


async def test_a_claim_names_the_order_and_keeps_the_answer_with_it(shop):
    with under(FakeClaim()) as claim:
        order = await place(shop)
    assert order.id == "order-" + "c" * 20
    assert claim.results == [order]


async def test_somebody_elses_order_is_not_there(shop):
    order = await place(shop)
    request = pb.GetOrderRequest(id=order.id)
    for caller in (("staff-1", "orders:read_all"), ("service:payments",)):
        with calling(*caller):
            assert (await shop.servicer.GetOrder(request, None)).id == order.id
    with calling("user-2"):
        with pytest.raises(NotFoundError) as foreign:
            await shop.servicer.GetOrder(request, None)
        with pytest.raises(NotFoundError):
            await shop.servicer.CancelOrder(pb.CancelOrderRequest(id=order.id), None)
        with pytest.raises(NotFoundError):
            await anext(shop.servicer.WatchOrder(pb.WatchOrderRequest(id=order.id), None))
        with pytest.raises(NotFoundError) as unknown:
            await shop.servicer.GetOrder(pb.GetOrderRequest(id="order-nobody"), None)
    assert foreign.value.reason == unknown.value.reason


async def test_only_staff_order_and_look_for_others(shop):
    with pytest.raises(PermissionDeniedError):
        await place(shop, user_id="user-2")
    with calling("user-1"), pytest.raises(PermissionDeniedError):
        await shop.servicer.ListOrders(pb.ListOrdersRequest(user_id="user-2"), None)
    with calling("staff-1", "orders:read_all"):
        await shop.servicer.CreateOrder(asked(user_id="user-2"), None)
        found = await shop.servicer.ListOrders(pb.ListOrdersRequest(user_id="user-2"), None)
    assert [order.user_id for order in found.orders] == ["user-2"]


async def test_orders_are_counted_as_they_are_placed(shop):
    await place(shop)
    labels = {"status": "pending", "currency": "USD"}
    assert shop.registry.get_sample_value("ecommerce_orders_total", labels) == 1
    labels["status"] = "completed"
    assert shop.registry.get_sample_value("ecommerce_orders_total", labels) == 0


def checkout_request(**fields):
    return pb.CheckoutRequest(shipping_address=ADDRESS, payment_method="credit_card", **fields)


async def test_checkout_pays_for_the_cart_and_empties_it(shop):
    await shop.cart.put("user-1", Line("mug", 2))
    with calling("user-1"):
        answer = await shop.servicer.Checkout(checkout_request(), None)
    assert (answer.payment_status, answer.order.status) == ("paid", "confirmed")
    assert answer.order.items[0].product_id == "mug"
    assert await shop.cart.lines("user-1") == []


async def test_what_is_put_into_the_cart_during_a_checkout_stays(shop, world, monkeypatch):
    await shop.cart.put("user-1", Line("mug", 2))
    await shop.cart.put("user-1", Line("tea", 1))
    prepare = shop.payments.prepare

    async def put_meanwhile(*args):
        await shop.cart.put("user-1", Line("tea", 4))
        return await prepare(*args)

    monkeypatch.setattr(shop.payments, "prepare", put_meanwhile)
    with calling("user-1"):
        answer = await shop.servicer.Checkout(checkout_request(), None)
    assert {item.product_id: item.quantity for item in answer.order.items} == {"mug": 2, "tea": 1}
    assert await shop.cart.lines("user-1") == [Line("tea", 4)]


async def test_a_checkout_without_a_key_looks_for_no_earlier_one(shop, world, monkeypatch):
    looked, find = [], world.placing.find

    async def looking(wish):
        looked.append(wish.order_id)
        return await find(wish)

    monkeypatch.setattr(world.placing, "find", looking)
    with calling("user-1"):
        request = checkout_request(items=[pb.OrderLine(product_id="mug", quantity=1)])
        await shop.servicer.Checkout(request, None)
        assert looked == []
        with under(FakeClaim()):
            await shop.servicer.Checkout(request, None)
    assert looked == ["order-" + "c" * 20]


async def test_a_checkout_repeated_under_its_key_takes_up_the_same_order(shop, world):
    await shop.cart.put("user-1", Line("mug", 2))
    with calling("user-1"), under(FakeClaim()):
        first = await shop.servicer.Checkout(checkout_request(), None)
        again = await shop.servicer.Checkout(checkout_request(), None)
    assert again == first
    assert len(shop.payments.prepared) == len(world.payments.asked) == 1


async def test_a_declined_checkout_keeps_the_cart(shop, world):
    world.payments.answers = ["failed"]
    await shop.cart.put("user-1", Line("mug", 2))
    with calling("user-1"), pytest.raises(DeclinedError):
        await shop.servicer.Checkout(checkout_request(), None)
    assert await shop.cart.lines("user-1") == [Line("mug", 2)]
