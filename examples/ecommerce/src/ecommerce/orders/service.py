"""The orders service on one page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from prodkit.service.service import Service
from prodkit.service.workers import Worker

from ecommerce.contract.catalog.v1.catalog_pb2_grpc import CatalogServiceStub, StockServiceStub
from ecommerce.contract.orders.v1 import orders_pb2, orders_pb2_grpc
from ecommerce.contract.payments.v1.payments_pb2_grpc import PaymentServiceStub
from ecommerce.contract.users.v1.users_pb2_grpc import UserServiceStub
from ecommerce.kit import Kit
from ecommerce.orders.adapters.cart_servicer import CartServicer
from ecommerce.orders.adapters.changes import Changes
from ecommerce.orders.adapters.clients import AccountsClient, CatalogClient, PaymentsClient
from ecommerce.orders.adapters.demo import DemoDiscounts
from ecommerce.orders.adapters.handlers import PaymentHandlers
from ecommerce.orders.adapters.repository import SqlCarts, SqlDiscounts, SqlOrders
from ecommerce.orders.adapters.servicer import OrderServicer
from ecommerce.orders.adapters.tables import metadata
from ecommerce.orders.application.carts import Cart
from ecommerce.orders.application.checkout import Checkout, CheckoutSteps
from ecommerce.orders.application.fulfilment import Fulfilment
from ecommerce.orders.application.placing import Placing
from ecommerce.orders.domain.order import Order
from ecommerce.orders.domain.pricing import Pricing
from ecommerce.orders.metrics import OrderMetrics
from ecommerce.runtime import Runtime

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
    steps = CheckoutSteps(catalog=catalog, payments=payments, fulfilment=fulfilment)
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
