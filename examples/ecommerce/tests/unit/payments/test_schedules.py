"""Scenario 3: captures race cancellations, expiries, sweeps, refunds, late webhooks and crashes.

However it goes: the order is confirmed, its stock sold and paid for once, or it is cancelled, its
stock back, and nothing kept of the money. No order expires once its money was taken.
"""

from collections import Counter

import pytest
from prodkit.data.saga import SagaStatus
from shop_doubles import at_once
from shop_schedule import Schedule, databases
from sqlalchemy import select

from ecommerce.catalog.tables import products
from ecommerce.orders.domain.order import PaymentStatus, Status


async def _stock(schedule):
    async with schedule.catalog.read() as tx:
        columns = products.c.available, products.c.reserved, products.c.sold
        found = await tx.execute(select(*columns).where(products.c.id == schedule.product_id))
        return tuple(found.one())


def _check(schedule):
    order = at_once(schedule.fulfilment.get(schedule.order_id))
    payment = at_once(schedule.paying.get(schedule.payment_id))
    moved = [kind for kind, _ in schedule.provider.ledger]
    captured, refunded = moved.count("captured"), moved.count("refunded")
    assert all(
        progress.status in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED)
        for progress in schedule.sagas.values()
    )
    held = [status for status, _ in schedule.provider.authorizations.values()]
    assert "authorized" not in held
    if order.status is Status.CONFIRMED:
        assert (captured, refunded) == (1, 0)
        assert (payment.status, order.payment_status) == ("captured", PaymentStatus.PAID)
        assert order.payment_id == schedule.payment_id
        assert at_once(_stock(schedule)) == (3, 0, 2)
    else:
        assert order.status is Status.CANCELLED
        assert captured == refunded <= 1
        # Whoever has paid has not paid too late.
        assert not (captured and order.reason == "not paid in time")
        assert payment.status == ("refunded" if refunded else "failed")
        assert (order.payment_status is PaymentStatus.REFUNDED) == bool(refunded)
        assert at_once(_stock(schedule)) == (5, 0, 0)
    types = Counter(schedule.events.types)
    assert all(
        types[f"payment.{state}"] == moved.count(state) for state in ("captured", "refunded")
    )
    return order.status.value, payment.status


def _simulate(seeds):
    """Run the schedules; return how often each end was reached."""
    shared, ends = databases(), Counter()
    for seed in seeds:
        schedule = Schedule(shared, seed)
        try:
            schedule.run()
            ends[_check(schedule)] += 1
        except Exception as error:
            error.add_note(f"schedule {seed}")
            raise
    return ends


@pytest.mark.parametrize("first", [0, 150])
def test_every_schedule_ends_confirmed_and_paid_or_cancelled_and_paid_back(first):
    ends = _simulate(range(first, first + 150))
    # That all ends were reached shows that the schedules do race.
    assert set(ends) == {
        ("confirmed", "captured"),
        ("cancelled", "refunded"),
        ("cancelled", "failed"),
    }
    assert min(ends.values()) > 10


@pytest.mark.slow
def test_ten_thousand_schedules():
    _simulate(range(10_000))
