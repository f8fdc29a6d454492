"""One order among orders, catalog and payments, in an order of events that a seed decides.

Everything real but the wire, the clock and the provider; whoever could go next is chosen at random
at every transaction and every call, calls and replies get lost, processes die in between.
"""

import random
from datetime import UTC, datetime, timedelta

from prodkit.data.saga import SagaStatus, StepRun
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import AlreadyExistsError, UnavailableError
from prodkit.messaging.inbox import Inbox, metadata as inbox_tables
from prometheus_client import CollectorRegistry
from shop_doubles import Events, FakeProvider, InlineDatabase, at_once, pause
from sqlalchemy import insert

from ecommerce.catalog.stock import Stock
from ecommerce.catalog.tables import (
    metadata as catalog_tables,
    products,
)
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
from ecommerce.payments.sagas import PaymentSagas, opening
from ecommerce.payments.states import States
from ecommerce.payments.tables import metadata as payment_tables
from ecommerce.payments.vault import Vault

LIFETIME = 900.0
CARDS = ["4111111111111111"] * 8 + ["4000000000000002", "4000000000009995"]
FAULTS = [None] * 8 + ["away", "lost"]


def databases():
    """Return those of orders, catalog and payments; schedules can share them."""
    tables = order_tables, catalog_tables, payment_tables
    return [InlineDatabase(each, inbox_tables) for each in tables]


class Schedule:
    """The services, the runner of their sagas, and everybody who wants something of the order."""

    def __init__(self, databases, seed):
        self.random = random.Random(seed)
        self.time = 1_000_000.0 + seed * 10_000.0
        self.order_id, self.product_id = f"order-{seed}", f"product-{seed}"
        self.payment_id, self.handle = f"payment-{seed}", f"means-{seed}"
        self.provider = FakeProvider()
        for operation in ("authorize", "capture", "void", "refund", "status"):
            self.provider.faults[operation] = self.random.choices(FAULTS, k=20)
        self.sagas, self.actors, self.told = {}, [], 0
        self.events = Events()
        self.orders, self.catalog, self.payments = databases
        self.units = {each: UnitOfWork(each, self.events) for each in databases}
        self._build()

    def _build(self):
        self.stock = Stock(
            self.catalog,
            self.units[self.catalog],
            lifetime=LIFETIME + 60.0,
            now=lambda: self.time,
        )
        self.fulfilment = Fulfilment(
            database=self.orders,
            units=self.units[self.orders],
            orders=SqlOrders(),
            catalog=self,
            now=self.now,
            on_change=lambda order: None,
        )
        mine = {"database": self.payments, "units": self.units[self.payments]}
        mine |= {"provider": self.provider, "vault": Vault(now=lambda: self.time)}
        metrics = PaymentMetrics(CollectorRegistry())
        self.states = States(mine["units"], metrics, now=self.now)
        self.steps = PaymentSagas(**mine, states=self.states, orders=self)
        self.store = self
        self.paying = Paying(**mine, runner=self, sagas=self.steps, patience=0.0, now=self.now)

    def now(self):
        return datetime.fromtimestamp(self.time, UTC)

    def run(self):
        """Let everybody act to the end; what nobody paid for expires after that."""
        at_once(self._place())
        everybody = [self.customer, self.expiry, self.sweep, self.webhook, self.staff]
        for act in self.random.sample(everybody, self.random.randrange(len(everybody) + 1)):
            self.actors.append((act(), None))
        self._until_quiet()
        for act in (self.expiry, self.sweep):
            self.actors.append((act(), None))
            self._until_quiet()

    def _until_quiet(self):
        while self.actors:
            place = self.random.randrange(len(self.actors))
            actor, restart = self.actors[place]
            if restart is not None and self.random.random() < 0.01:
                actor.close()
                self.actors[place] = restart(), restart
                continue
            try:
                actor.send(None)
            except StopIteration:
                del self.actors[place]
            self._tell()

    # What the services see of each other: calls that get lost on their way there, or back.

    async def commit(self, order_id):
        await self._remote(self.stock.commit, order_id)

    async def confirm(self, order_id, payment_id):
        await self._remote(self.fulfilment.confirm, order_id, payment_id)

    async def hold(self, order_id, payment_id):
        await self._remote(self.fulfilment.hold, order_id, payment_id)

    async def _remote(self, call, *arguments):
        await pause()
        if self.random.random() < 0.1:
            raise UnavailableError("the call was lost")
        await call(*arguments)
        await pause()
        if self.random.random() < 0.1:
            raise UnavailableError("the reply was lost")

    # What sagas see of their runner: a step that a dying process did not record runs again.

    async def begin(self, tx, saga, id_, state):
        if id_ in self.sagas:
            raise AlreadyExistsError(id_)
        self.sagas[id_] = saga.begin(state)
        self.actors.append((self._steps(saga, id_), lambda: self._steps(saga, id_)))

    async def get(self, id_):
        return self.sagas.get(id_)

    async def _steps(self, saga, id_):
        while not (progress := self.sagas[id_]).status.ended:
            step = saga.step(progress.step)
            compensating = progress.status is SagaStatus.COMPENSATING
            function = step.compensate if compensating else step.action
            attempt, record = progress.attempts + 1, self._recorder(saga, id_, progress)
            run = StepRun(id_, step.name, progress.state, attempt, compensating, record)
            try:
                after = saga.succeeded(progress, await function(run))
            except Exception as error:
                after = saga.failed(progress, error)
            await pause()
            if self.sagas[id_] is progress:
                self.sagas[id_] = after

    def _recorder(self, saga, id_, progress):
        async def record(tx, result):
            after = saga.succeeded(progress, result)
            tx.on_commit(lambda: self.sagas.__setitem__(id_, after))

        return record

    # Events reach their consumers at least once, in any order.

    def _tell(self):
        for event in self.events.all[self.told :]:
            for _ in range(self.random.choice([1, 1, 1, 2])):
                self.actors += [(handling, None) for handling in self._consumers(event)]
        self.told = len(self.events.all)

    def _consumers(self, event):
        async def release(_, work):
            await self.stock.release_in(work, self.order_id)

        async def cancelled(_, work):
            await self.paying.order_cancelled(work, self.order_id)

        async def refunded(_, work):
            await self.fulfilment.refunded(work, self.order_id)

        if event.type == "order.cancelled":
            yield Inbox("catalog").handler(self.units[self.catalog], release)(event)
            yield Inbox("payments").handler(self.units[self.payments], cancelled)(event)
        elif event.type == "payment.refunded":
            yield Inbox("orders").handler(self.units[self.orders], refunded)(event)
        elif event.type == "payment.failed":
            yield self.fulfilment.payment_stands(
                self.order_id, PaymentStatus.FAILED, self.payment_id
            )

    # Who acts.

    async def customer(self):
        await self._linger()
        await self.fulfilment.cancel(self.order_id, "changed my mind")

    async def expiry(self):
        await self._linger()
        self.time += LIFETIME + 1.0
        await self.fulfilment.expire(timedelta(seconds=LIFETIME))

    async def sweep(self):
        await self._linger()
        self.time += LIFETIME + 61.0
        await self.stock.sweep()

    async def webhook(self):
        """Report what was true at the provider a while ago."""
        await self._linger()
        known = self.provider.authorizations.get(f"auth_{self.payment_id}", ["unknown"])[0]
        await self._linger()
        if known in repository.BEFORE:
            await self.states.report(self.payment_id, known)

    async def staff(self):
        """Refund, if there is something to refund."""
        await self._linger()
        payment = await self.paying.get(self.payment_id)
        if payment.status != "captured":
            return
        try:
            async with self.units[self.payments]() as work:
                await self.paying.begin_refund(work, payment)
        except AlreadyExistsError:
            return

    async def _linger(self):
        for _ in range(self.random.randrange(60)):
            await pause()

    async def _place(self):
        stock = {"available": 5, "reserved": 0, "sold": 0}
        texts = ("name", "description", "category", "created_at", "updated_at")
        row = {"id": self.product_id, "price": "10.00", "currency": "USD", **stock}
        async with self.units[self.catalog]() as work:
            await work.execute(insert(products).values(**row, **dict.fromkeys(texts, "")))
        await self.stock.reserve(self.order_id, [(self.product_id, 2)])
        async with self.units[self.orders]() as work:
            await SqlOrders().add(work, self._order())
        means = Means("credit_card", self.random.choice(CARDS))
        token = await self.provider.tokenize(means, "means")
        async with self.units[self.payments]() as work:
            tell, now = work.execute, self.now()
            await repository.add_means(tell, self.handle, "user-1", means.method, token, now)
            payment = self._payment()
            await repository.add(work, payment)
            state = opening(payment, tokenized=True)
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
            address=Address("1 Main St", "Springfield", "", "12345", "US"),
            shipping_method="standard",
            created_at=self.now(),
            updated_at=self.now(),
        )

    def _payment(self):
        return Payment(
            id=self.payment_id,
            order_id=self.order_id,
            user_id="user-1",
            status="pending",
            method="credit_card",
            handle=self.handle,
            amount="20.00",
            currency="USD",
            created_at=self.now().isoformat(),
            updated_at=self.now().isoformat(),
        )
