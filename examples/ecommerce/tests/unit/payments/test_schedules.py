"""Scenario 3: the capture races the cancellation, the expiry and the sweep, with crashes.

Each schedule is one seed: it decides who goes next whenever anybody could, what is lost, who dies.
Whatever happens: the order is confirmed and its stock sold and paid once, or the order is
cancelled, its stock returned, and nothing kept of the money.
"""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prodkit.data.saga import SagaStatus, StepRun
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import AlreadyExistsError, UnavailableError
from prodkit.messaging.inbox import Inbox
from prodkit.messaging.inbox import metadata as inbox_tables
from prometheus_client import CollectorRegistry
from shop_doubles import Events, FakeProvider, InlineDatabase, at_once, pause
from sqlalchemy import insert, select

from ecommerce.catalog.stock import Stock
from ecommerce.catalog.tables import metadata as catalog_tables
from ecommerce.catalog.tables import products
from ecommerce.orders.adapters.repository import SqlOrders
from ecommerce.orders.adapters.tables import metadata as order_tables
from ecommerce.orders.application.fulfilment import Fulfilment
from ecommerce.orders.domain.money import Money
from ecommerce.orders.domain.order import (
    Address,
    Item,
    Order,
    PaymentStatus,
    Status,
    Totals,
)
from ecommerce.payments import repository
from ecommerce.payments.means import Means
from ecommerce.payments.metrics import PaymentMetrics
from ecommerce.payments.paying import Paying
from ecommerce.payments.repository import Payment
from ecommerce.payments.sagas import PaymentSagas
from ecommerce.payments.states import States
from ecommerce.payments.tables import metadata as payment_tables
from ecommerce.payments.vault import Vault

LIFETIME = 900.0
CARDS = ["4111111111111111"] * 8 + ["4000000000000002", "4000000000009995"]


class Service:
    """One service's database, units of work and events."""

    def __init__(self, name, *tables):
        self.database = InlineDatabase(*tables, inbox_tables)
        self.events = Events()
        self.units = UnitOfWork(self.database, self.events)
        self.inbox = Inbox(name)


class Schedule:
    """Three services, one order, and everybody who wants something of it."""

    def __init__(self, services, seed):
        self.orders, self.catalog, self.payments = services
        self.random = random.Random(seed)
        self.seed = seed
        self.time = 1_000_000.0 + seed * 10_000.0
        self.order_id, self.product_id = f"order-{seed}", f"product-{seed}"
        self.payment_id = f"payment-{seed}"
        self.provider = FakeProvider()
        self.sagas, self.actors, self.told = {}, [], 0
        self.stock = Stock(
            self.catalog.database,
            self.catalog.units,
            lifetime=LIFETIME + 60.0,
            now=lambda: self.time,
        )
        self.fulfilment = Fulfilment(
            database=self.orders.database,
            units=self.orders.units,
            orders=SqlOrders(),
            catalog=self,
            now=self.now,
            on_change=lambda order: None,
        )
        self.states = States(
            self.payments.units, PaymentMetrics(CollectorRegistry()), now=self.now
        )
        self.steps = PaymentSagas(
            database=self.payments.database,
            units=self.payments.units,
            states=self.states,
            provider=self.provider,
            orders=self,
            vault=Vault(now=lambda: self.time),
        )
        self.store = self  # of the runner, which this is too
        self.paying = Paying(
            database=self.payments.database,
            units=self.payments.units,
            provider=self.provider,
            vault=Vault(now=lambda: self.time),
            runner=self,
            sagas=self.steps,
            patience=0.0,
            now=self.now,
        )

    def now(self):
        return datetime.fromtimestamp(self.time, UTC)

    # What the services see of each other: calls that fail before or after their effect.

    async def commit(self, order_id):
        await self._remote(self.stock.commit(order_id))

    async def confirm(self, order_id, payment_id):
        await self._remote(self.fulfilment.confirm(order_id, payment_id))

    async def is_pending(self, order_id):
        return (await self.fulfilment.get(order_id)).status is Status.PENDING

    async def _remote(self, work):
        await pause()
        if self.random.random() < 0.1:
            work.close()
            raise UnavailableError("the call was lost")
        await work
        await pause()
        if self.random.random() < 0.1:
            raise UnavailableError("the reply was lost")

    # What the sagas see of their runner; it forgets what a step did when the process dies.

    async def begin(self, tx, saga, id_, state):
        if id_ in self.sagas:
            raise AlreadyExistsError(id_)
        self.sagas[id_] = saga.begin(state)
        self.actors.append(self._run(saga, id_))

    async def get(self, id_):
        return self.sagas.get(id_)

    async def _run(self, saga, id_):
        while not (progress := self.sagas[id_]).status.ended:
            step = saga.step(progress.step)
            compensating = progress.status is SagaStatus.COMPENSATING
            function = step.compensate if compensating else step.action
            run = StepRun(id_, step.name, progress.state, progress.attempts + 1, compensating)
            try:
                after = saga.succeeded(progress, function and await function(run))
            except Exception as error:
                after = saga.failed(progress, error, self.time)
            await pause()
            self.sagas[id_] = after

    # The others.

    async def place(self):
        row = dict.fromkeys(("name", "description", "category"), "")
        async with self.catalog.units() as work:
            await work.execute(
                insert(products).values(
                    id=self.product_id,
                    **row,
                    price="10.00",
                    currency="USD",
                    available=5,
                    created_at="",
                    updated_at="",
                )
            )
        await self.stock.reserve(self.order_id, [(self.product_id, 2)])
        async with self.orders.units() as work:
            await SqlOrders().add(work, self._order())
        token = await self.provider.tokenize(
            Means("credit_card", self.random.choice(CARDS)), "means"
        )
        async with self.payments.units() as work:
            handle = f"means-{self.seed}"
            await repository.add_means(work, handle, "user-1", "credit_card", token, self.now())
            await repository.add(work, self._payment(handle))
            state = {"payment_id": self.payment_id}
            await self.begin(work.tx, self.steps.payment, self.payment_id, state)

    def _order(self):
        price, nothing = Money.of("10.00", "USD"), Money.of(0, "USD")
        return Order(
            id=self.order_id,
            user_id="user-1",
            status=Status.PENDING,
            payment_status=PaymentStatus.UNPAID,
            items=(Item(self.product_id, "Mug", 2, price),),
            totals=Totals(price * 2, nothing, nothing, nothing),
            address=Address("", "", "", "", "US"),
            shipping_method="standard",
            created_at=self.now(),
            updated_at=self.now(),
        )

    def _payment(self, handle):
        return Payment(
            id=self.payment_id,
            order_id=self.order_id,
            user_id="user-1",
            status="pending",
            method="credit_card",
            handle=handle,
            amount="20.00",
            currency="USD",
            created_at=self.now().isoformat(),
            updated_at=self.now().isoformat(),
        )

    async def customer(self):
        await self._linger()
        try:
            await self.fulfilment.cancel(self.order_id, "changed my mind")
        except UnavailableError:
            pass

    async def expiry(self):
        await self._linger()
        self.time += LIFETIME + 1.0
        await self.fulfilment.expire(timedelta(seconds=LIFETIME))

    async def sweep(self):
        await self._linger()
        self.time += LIFETIME + 61.0
        await self.stock.sweep()

    async def webhook(self):
        """Report what is true at the provider, late."""
        await self._linger()
        status = self.provider.authorizations.get(f"auth_{self.payment_id}", ["unknown"])[0]
        if status in repository.BEFORE:
            await self._linger()
            await self.states.move(self.payment_id, status)

    async def staff(self):
        await self._linger()
        payment = await self.paying.get(self.payment_id)
        if payment.status == "captured":
            try:
                async with self.payments.units() as work:
                    await self.paying.begin_refund(work, payment)
            except AlreadyExistsError:
                pass

    async def _linger(self):
        for _ in range(self.random.randrange(40)):
            await pause()

    # Events reach their consumers at least once, in whatever order.

    def _tell(self):
        events = [*self.orders.events.all, *self.payments.events.all]
        for event in events[self.told :]:
            for handler in self._consumers(replace(event, source="/test")):
                self.actors.append(handler)
                if self.random.random() < 0.2:
                    self.actors.append(handler_again(self, event))
        self.told = len(events)

    def _consumers(self, event):
        order_id = event.data["order_id"]

        async def release(event, work):
            await self.stock.release_in(work, order_id)

        async def cancelled(event, work):
            await self.paying.order_cancelled(work, order_id)

        async def refunded(event, work):
            await self.fulfilment.refunded(work, order_id)

        if event.type == "order.cancelled":
            yield self.catalog.inbox.handler(self.catalog.units, release)(event)
            yield self.payments.inbox.handler(self.payments.units, cancelled)(event)
        elif event.type == "payment.refunded":
            yield self.orders.inbox.handler(self.orders.units, refunded)(event)
        elif event.type == "payment.failed":
            yield self.fulfilment.payment_stands(order_id, PaymentStatus.FAILED)
