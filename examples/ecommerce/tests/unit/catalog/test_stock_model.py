"""Stock against a plain dictionary: in any order, and repeated, the counts are the model's."""

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import FailedPreconditionError
from shop_doubles import Events, InlineDatabase, at_once
from sqlalchemy import insert, select

from ecommerce.catalog.stock import Stock
from ecommerce.catalog.tables import metadata, products

PRODUCTS = ("mug", "pot", "tea")
LIFETIME = 900.0

orders = st.sampled_from([f"order-{number}" for number in range(5)])
quantities = st.integers(1, 6)
baskets = st.lists(st.tuples(st.sampled_from(PRODUCTS), quantities), min_size=1, max_size=4)


class StockMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.time, self.events = 0.0, Events()
        self.database = InlineDatabase(metadata)
        self.units = UnitOfWork(self.database, self.events)
        self.stock = Stock(self.database, self.units, lifetime=LIFETIME, now=lambda: self.time)
        self.counts = {product: [10, 0, 0] for product in PRODUCTS}
        self.orders = {}  # order -> [status, basket, expires]
        at_once(self._fill())

    async def _fill(self):
        empty = dict.fromkeys(("description", "category", "created_at", "updated_at"), "")
        row = {"name": "Thing", "price": "1.00", "currency": "USD", "available": 10, **empty}
        async with self.units() as work:
            await work.execute(insert(products), [{"id": id_, **row} for id_ in PRODUCTS])

    def teardown(self):
        self.database.close()

    def _shift(self, order, source, target):
        for product, quantity in self.orders[order][1].items():
            self.counts[product][source] -= quantity
            self.counts[product][target] += quantity

    def _let_go(self, order):
        known = self.orders.setdefault(order, ["released", {}, 0.0])
        if known[0] != "released":
            self._shift(order, {"reserved": 1, "sold": 2}[known[0]], 0)
            known[0] = "released"

    @rule(order=orders, lines=baskets)
    def reserve(self, order, lines):
        basket = {}
        for product, quantity in lines:
            basket[product] = basket.get(product, 0) + quantity
        status = self.orders.get(order, [None])[0]
        short = any(self.counts[product][0] < wanted for product, wanted in basket.items())
        if status == "released" or (status is None and short):
            with pytest.raises(FailedPreconditionError) as caught:
                at_once(self.stock.reserve(order, lines))
            expected = "RESERVATION_RELEASED" if status else "OUT_OF_STOCK"
            assert caught.value.reason == expected
            return
        assert at_once(self.stock.reserve(order, lines)).status == (status or "reserved")
        if status is None:
            self.orders[order] = ["reserved", basket, self.time + LIFETIME]
            self._shift(order, 0, 1)

    @rule(order=orders)
    def commit(self, order):
        status = self.orders.get(order, [None])[0]
        if status in (None, "released"):
            with pytest.raises(FailedPreconditionError):
                at_once(self.stock.commit(order))
            return
        assert at_once(self.stock.commit(order)).status == "sold"
        if status == "reserved":
            self._shift(order, 1, 2)
            self.orders[order][0] = "sold"

    @rule(order=orders)
    def release(self, order):
        assert at_once(self.stock.release(order)).status == "released"
        self._let_go(order)

    @rule(seconds=st.sampled_from([1.0, 600.0, 901.0]))
    def sweep(self, seconds):
        self.time += seconds
        due = {
            order
            for order, (status, _, expires) in self.orders.items()
            if status == "reserved" and expires < self.time
        }
        told = len(self.events.all)
        assert at_once(self.stock.sweep()) == len(due)
        assert {event.subject for event in self.events.all[told:]} == due
        for order in due:
            self._let_go(order)

    @rule(product=st.sampled_from([*PRODUCTS, "nothing"]), quantity=quantities)
    def restock(self, product, quantity):
        row = at_once(self._restock(product, quantity))
        assert (row is None) == (product == "nothing")
        if row is not None:
            self.counts[product][0] += quantity

    async def _restock(self, product, quantity):
        async with self.units() as work:
            return await self.stock.restock(work, product, quantity, "now")

    @invariant()
    def counts_are_the_models(self):
        found = at_once(self._counts())
        assert found == {product: tuple(counts) for product, counts in self.counts.items()}
        assert all(count >= 0 for counts in found.values() for count in counts)

    async def _counts(self):
        columns = products.c.id, products.c.available, products.c.reserved, products.c.sold
        async with self.database.read() as tx:
            return {id_: tuple(counts) for id_, *counts in await tx.execute(select(*columns))}


StockMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestStock = StockMachine.TestCase
