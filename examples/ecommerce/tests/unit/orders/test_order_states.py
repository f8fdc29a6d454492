from itertools import product

import pytest

from ecommerce.orders.domain.order import BEFORE, FINAL, Status

pytestmark = pytest.mark.anyio

ALLOWED = {
    ("pending", "confirmed"),
    ("pending", "cancelled"),
    ("confirmed", "shipped"),
    ("confirmed", "cancelled"),
    ("shipped", "delivered"),
    ("shipped", "refunded"),
    ("delivered", "refunded"),
}


@pytest.fixture
async def in_state(world):
    """Return a function that makes an order and brings it into a state."""
    paths = {
        "pending": [],
        "confirmed": ["confirmed"],
        "shipped": ["confirmed", "shipped"],
        "delivered": ["confirmed", "shipped", "delivered"],
        "cancelled": ["cancelled"],
        "refunded": ["confirmed", "shipped", "refunded"],
    }

    async def make(order_id, state):
        await world.place(order_id)
        for step in paths[state]:
            async with world.units() as work:
                assert await world.orders.move(work, order_id, Status(step), world.now())
        return await world.get(order_id)

    return make


def test_nothing_leads_back_to_pending():
    assert set(BEFORE) == set(Status) - {Status.PENDING}


def test_what_is_over_only_ever_has_its_money_returned():
    left = {(before, to) for to, befores in BEFORE.items() for before in befores & FINAL}
    assert left == {(Status.DELIVERED, Status.REFUNDED)}


async def test_the_table_is_what_the_database_does(world, in_state):
    """Every state against every other: a move happens where it is allowed, and nowhere else."""
    for before, to in product(Status, set(Status) - {Status.PENDING}):
        order = await in_state(f"order-{before}-{to}", before.value)
        async with world.units() as work:
            moved = await world.orders.move(work, order.id, to, world.now())
        after = await world.get(order.id)
        allowed = (before.value, to.value) in ALLOWED
        assert (moved is not None) == allowed, (before, to)
        assert after.status is (to if allowed else before)
        assert after.version == order.version + allowed
        assert moved is None or moved == after
