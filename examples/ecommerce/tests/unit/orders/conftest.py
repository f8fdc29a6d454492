"""Orders with a catalog, accounts and payments in memory, on a clock that the test moves."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from prodkit.data.saga import SagaRunner, store as saga_store
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import FailedPreconditionError
from shop_doubles import opened
from sqlalchemy import insert

from ecommerce.orders.adapters.repository import (
    SqlDiscounts,
    SqlOrders,
)
from ecommerce.orders.adapters.tables import discounts, metadata
from ecommerce.orders.application.checkout import (
    Checkout,
    CheckoutSteps,
)
from ecommerce.orders.application.fulfilment import Fulfilment
from ecommerce.orders.application.placing import Placing, Wish
from ecommerce.orders.application.ports import PaymentState, Product
from ecommerce.orders.domain.money import Money
from ecommerce.orders.domain.order import Address, Line
from ecommerce.orders.domain.pricing import Pricing

ADDRESS = Address("1 Main St", "Springfield", "CA", "12345", "US")


class FakeCatalog:
    """Three products, and stock that is held, sold or let go."""

    def __init__(self):
        self.known = {
            "mug": Product("mug", "Mug", Money.of("12.50", "USD")),
            "tea": Product("tea", "Tea", Money.of("7.25", "USD")),
            "cup": Product("cup", "Cup", Money.of("9.00", "EUR")),
        }
        self.holds, self.asked, self.errors, self.reserved = {}, [], [], 0

    async def products(self, ids):
        self.asked.append(list(ids))
        return {id_: self.known[id_] for id_ in ids if id_ in self.known}

    async def reserve(self, order_id, lines):
        self.reserved += 1
        self._fail()
        if self.holds.get(order_id) == "released":
            raise FailedPreconditionError("released", reason="RESERVATION_RELEASED")
        self.holds.setdefault(order_id, list(lines))

    async def commit(self, order_id):
        self._fail()
        if self.holds.get(order_id) == "released":
            raise FailedPreconditionError("released", reason="RESERVATION_RELEASED")
        self.holds[order_id] = "sold"

    async def release(self, order_id):
        self.holds[order_id] = "released"

    def _fail(self):
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error


class FakeAccounts:
    def __init__(self):
        self.inactive = set()

    async def require_active(self, user_id):
        if user_id in self.inactive:
            raise FailedPreconditionError("not active", reason="ACCOUNT_INACTIVE")


class FakePayments:
    """Answers in turn, the last answer again and again; a captured payment confirms its order."""

    def __init__(self):
        self.answers, self.asked, self.confirm = ["captured"], [], None
        self.bills = []

    async def pay(self, order_id, handle, bill):
        self.asked.append((order_id, handle))
        self.bills.append(bill)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        if answer == "captured":
            await self.confirm(order_id, "payment-1")
        return PaymentState("payment-1", answer, "no money" if answer == "failed" else "")


class World:
    """The orders service, put together as its service.py does."""

    def __init__(self, database, clock, events):
        self.database, self.clock, self.events = database, clock, events
        self.units = UnitOfWork(database, events)
        self.catalog, self.accounts = FakeCatalog(), FakeAccounts()
        self.orders, self.payments, self.changes = SqlOrders(), FakePayments(), []
        self.fulfilment = Fulfilment(
            database=database,
            units=self.units,
            orders=self.orders,
            catalog=self.catalog,
            now=self.now,
            on_change=self.changes.append,
        )
        self.payments.confirm = self.fulfilment.confirm
        self.placing = Placing(
            database=database,
            units=self.units,
            orders=self.orders,
            catalog=self.catalog,
            accounts=self.accounts,
            pricing=Pricing(SqlDiscounts(database).share),
            now=self.now,
        )
        self.start()

    def start(self):
        """Begin a process."""
        steps = CheckoutSteps(
            catalog=self.catalog,
            payments=self.payments,
            fulfilment=self.fulfilment,
            sure=timedelta(seconds=450),
            now=self.now,
        )
        self.runner = SagaRunner(self.database, [steps.saga], clock=self.clock)
        self.checkout = Checkout(
            placing=self.placing, steps=steps, runner=self.runner, patience=0.001
        )

    def now(self):
        return datetime.fromtimestamp(self.clock.wall(), UTC)

    def wish(self, *lines, order_id="order-1", **options):
        asked = [Line(product, quantity) for product, quantity in lines or [("mug", 2)]]
        return Wish(order_id, "user-1", asked, ADDRESS, **options)

    async def place(self, order_id="order-1", *lines, **options):
        async def nothing_more(work, order):
            pass

        return await self.placing.place(
            self.wish(*lines, order_id=order_id, **options), nothing_more
        )

    async def later(self, seconds=20.0, times=1):
        """Let time pass, and run the sagas that are due."""
        for _ in range(times):
            await self.clock.advance(seconds)
            await self.runner._turn()
            await asyncio.gather(*self.runner._running.values(), return_exceptions=True)

    async def get(self, order_id="order-1"):
        return await self.fulfilment.get(order_id)


@pytest.fixture
async def world(clock, events):
    database = await opened(metadata, saga_store.metadata)
    async with database.transaction() as tx:
        await tx.execute(insert(discounts).values(code="TEN", share=str(Decimal("0.10"))))
    yield World(database, clock, events)
    await database.stop()
