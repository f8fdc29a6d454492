"""Payments with a provider and orders in memory, on a clock that the test moves."""

import asyncio
from datetime import UTC, datetime

import pytest
from prodkit.data.saga import SagaRunner, store as saga_store
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import FailedPreconditionError
from prometheus_client import CollectorRegistry
from shop_doubles import FakeProvider, opened

from ecommerce.payments import repository
from ecommerce.payments.means import Means
from ecommerce.payments.metrics import PaymentMetrics
from ecommerce.payments.paying import Bill, Paying
from ecommerce.payments.sagas import PaymentSagas
from ecommerce.payments.states import States
from ecommerce.payments.tables import metadata
from ecommerce.payments.vault import Vault
from ecommerce.payments.webhooks import Webhooks

SECRET = b"what the provider and the shop know"


class FakeOrders:
    """Orders that wait for their payment, until the test says otherwise."""

    def __init__(self):
        self.cancelled = set()
        self.held, self.confirmed = {}, {}
        self.errors = []

    async def bill(self, order_id):
        status = "cancelled" if order_id in self.cancelled else "pending"
        return Bill(order_id, "user-1", status, "59.98", "USD")

    async def hold(self, order_id, payment_id):
        if order_id in self.cancelled:
            raise FailedPreconditionError(f"order {order_id} cannot be had")
        self.held[order_id] = payment_id

    async def confirm(self, order_id, payment_id):
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        if order_id in self.cancelled or self.confirmed.get(order_id, payment_id) != payment_id:
            raise FailedPreconditionError(f"order {order_id} cannot be had")
        self.confirmed[order_id] = payment_id


class World:
    """The payments service, put together as its service.py does."""

    def __init__(self, database, clock, events):
        self.database, self.clock, self.events = database, clock, events
        self.provider, self.orders = FakeProvider(), FakeOrders()
        self.units = UnitOfWork(database, events)
        self.states = States(self.units, PaymentMetrics(CollectorRegistry()), now=self.now)
        self.webhooks = Webhooks(self.states, SECRET, now=clock.wall)
        self.start()

    def start(self):
        """Begin a process: what the one before kept in memory is gone."""
        self.vault = Vault(lifetime=900.0, now=self.clock.monotonic)
        self.sagas = PaymentSagas(
            database=self.database,
            units=self.units,
            states=self.states,
            provider=self.provider,
            orders=self.orders,
            vault=self.vault,
        )
        both = [self.sagas.payment, self.sagas.refund]
        self.runner = SagaRunner(self.database, both, clock=self.clock)
        self.paying = Paying(
            database=self.database,
            units=self.units,
            provider=self.provider,
            vault=self.vault,
            runner=self.runner,
            sagas=self.sagas,
            patience=0.001,
            now=self.now,
        )

    def now(self):
        return datetime.fromtimestamp(self.clock.wall(), UTC)

    async def pay(self, number="4111111111111111", *, method="credit_card", order="order-1"):
        handle = await self.paying.prepare("user-1", Means(method, number, "12", "2030", "123"))
        bill = await self.orders.bill(order)
        return await self.paying.pay(bill, handle, f"payment-of-{order}")

    async def later(self, seconds=20.0, times=1):
        """Let time pass, and run what is due."""
        for _ in range(times):
            await self.clock.advance(seconds)
            await self.runner._turn()
            await asyncio.gather(*self.runner._running.values(), return_exceptions=True)

    async def payment(self, order="order-1"):
        return await repository.newest_of_order(self.database.fetch, order)

    async def cancel(self, order="order-1"):
        """Cancel the order, and let payments hear of it."""
        self.orders.cancelled.add(order)
        async with self.units() as work:
            await self.paying.order_cancelled(work, order)

    @property
    def moved(self):
        return [kind for kind, _ in self.provider.ledger]


@pytest.fixture
async def world(clock, events):
    database = await opened(metadata, saga_store.metadata)
    yield World(database, clock, events)
    await database.stop()
