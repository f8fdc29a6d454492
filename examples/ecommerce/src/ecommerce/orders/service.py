"""The orders service on one page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from prodkit.service.service import Service
from prodkit.service.workers import Worker

from ..contract.catalog.v1.catalog_pb2_grpc import CatalogServiceStub, StockServiceStub
from ..contract.orders.v1 import orders_pb2, orders_pb2_grpc
from ..contract.payments.v1.payments_pb2_grpc import PaymentServiceStub
from ..contract.users.v1.users_pb2_grpc import UserServiceStub
from ..kit import Kit
from ..runtime import Runtime
from .adapters.cart_servicer import CartServicer
from .adapters.changes import Changes
from .adapters.clients import AccountsClient, CatalogClient, PaymentsClient
from .adapters.demo import DemoDiscounts
from .adapters.handlers import PaymentHandlers
from .adapters.repository import SqlCarts, SqlDiscounts, SqlOrders
from .adapters.servicer import OrderServicer
from .adapters.tables import metadata
from .application.carts import Cart
from .application.checkout import Checkout, CheckoutSteps
from .application.fulfilment import Fulfilment
from .application.placing import Placing
from .domain.order import Order
from .domain.pricing import Pricing
from .metrics import OrderMetrics

#: Seconds that a checkout is waited for beyond its payment's patience.
SLACK = 3.0


def build(runtime: Runtime) -> Service:
    """Put the service together."""
    kit = Kit(runtime, "orders", metadata)
    settings, now = runtime.settings, partial(datetime.now, UTC)
    orders, changes, metrics = SqlOrders(), Changes(), OrderMetrics(kit.registry)
    catalog = CatalogClient(
        CatalogServiceStub(kit.channel("catalog")), StockServiceStub(kit.channel("catalog"))
    )
    payments = PaymentsClient(PaymentServiceStub(kit.channel("payments")))

    def changed(order: Order) -> None:
        metrics.changed(order)
        changes(order)

    fulfilment = Fulfilment(
        database=kit.database,
        units=kit.units,
        orders=orders,
        catalog=catalog,
        now=now,
        on_change=changed,
    )
    placing = Placing(
        database=kit.database,
        units=kit.units,
        orders=orders,
        catalog=catalog,
        accounts=AccountsClient(UserServiceStub(kit.channel("users"))),
        pricing=Pricing(SqlDiscounts(kit.database).share),
        now=now,
    )
    steps = CheckoutSteps(
        catalog=catalog,
        payments=payments,
        fulfilment=fulfilment,
        sure=timedelta(seconds=settings.reservation_lifetime / 2),
        now=now,
    )
    runner = kit.sagas(steps.saga)
    cart = Cart(database=kit.database, units=kit.units, carts=SqlCarts(), catalog=catalog)
    servicer = OrderServicer(
        database=kit.database,
        orders=orders,
        placing=placing,
        checkout=Checkout(
            placing=placing,
            steps=steps,
            runner=runner,
            patience=settings.payment_patience + SLACK,
        ),
        fulfilment=fulfilment,
        cart=cart,
        payments=payments,
        changes=changes,
        metrics=metrics,
    )
    carts = CartServicer(cart)

    payments_events = PaymentHandlers(fulfilment, changed)

    async def expire() -> None:
        await fulfilment.expire(timedelta(seconds=settings.reservation_lifetime))

    demo = [DemoDiscounts(kit.database)] if settings.environment == "demo" else []
    return kit.service(
        contract=[orders_pb2],
        registrations=[
            lambda server: orders_pb2_grpc.add_OrderServiceServicer_to_server(servicer, server),
            lambda server: orders_pb2_grpc.add_CartServiceServicer_to_server(carts, server),
        ],
        resources=demo,
        consumers=[
            kit.consumer(
                {
                    "payment.failed": payments_events.failed,
                    "payment.refunded": kit.once(payments_events.refunded),
                }
            )
        ],
        workers=[runner, Worker("expire orders", expire, interval=5.0)],
        unheard=["order.placed", "order.refunded"],
    )
