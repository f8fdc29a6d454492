import asyncio
from contextlib import aclosing

import pytest
from prodkit.errors import NotFoundError

from ecommerce.orders.adapters.changes import Changes

pytestmark = pytest.mark.anyio
HOUR = 3600.0


@pytest.fixture
def changes(world):
    """Changes that are told and, so far as tests wait, never asked for."""
    changes = Changes(poll=HOUR)
    world.fulfilment._on_change = changes
    return changes


async def seen(changes, world, order_id="order-1"):
    return [order.status.value async for order in changes.watch(order_id, world.fulfilment.get)]


async def watching(changes, number=1):
    while len(changes._watchers.get("order-1", ())) < number:
        await asyncio.sleep(0)


async def test_shows_the_order_now_and_each_change_until_its_end(world, changes):
    await world.place()
    watch = changes.watch("order-1", world.fulfilment.get)
    shown = [await anext(watch)]
    for act, more in (("confirm", ["payment-1"]), ("ship", []), ("deliver", [])):
        await getattr(world.fulfilment, act)("order-1", *more)
        shown.append(await anext(watch))
    assert [order.status.value for order in shown] == [
        "pending",
        "confirmed",
        "shipped",
        "delivered",
    ]
    assert [order.version for order in shown] == [1, 2, 3, 4]
    with pytest.raises(StopAsyncIteration):
        await anext(watch)


async def test_what_is_over_is_shown_once(world, changes):
    await world.place()
    await world.fulfilment.cancel("order-1", "")
    assert await seen(changes, world) == ["cancelled"]


async def test_a_slow_watcher_sees_the_newest_and_misses_no_end(world, changes):
    await world.place()
    watch = changes.watch("order-1", world.fulfilment.get)
    assert (await anext(watch)).version == 1
    await world.fulfilment.confirm("order-1", "payment-1")
    await world.fulfilment.cancel("order-1", "")
    assert [order.version async for order in watch] == [3]


async def test_all_watchers_of_an_order_are_told_and_no_others(world, changes):
    await world.place("order-1")
    await world.place("order-2")
    watchers = [asyncio.create_task(seen(changes, world)) for _ in range(3)]
    other = asyncio.create_task(seen(changes, world, "order-2"))
    await watching(changes, 3)
    await world.fulfilment.cancel("order-1", "")
    for statuses in await asyncio.gather(*watchers):
        assert statuses[-1] == "cancelled"
    assert not other.done()
    other.cancel()
    await asyncio.wait([other])
    assert changes._watchers == {}


async def test_changes_of_other_processes_are_found_by_asking(world):
    changes = Changes(poll=0.001)
    await world.place()
    watch = changes.watch("order-1", world.fulfilment.get)
    assert (await anext(watch)).status == "pending"
    await world.fulfilment.cancel("order-1", "")
    assert (await anext(watch)).status == "cancelled"


async def test_whoever_leaves_is_forgotten(world, changes):
    await world.place()
    async with aclosing(changes.watch("order-1", world.fulfilment.get)) as watch:
        await anext(watch)
        assert len(changes._watchers["order-1"]) == 1
    assert changes._watchers == {}


async def test_an_unknown_order_is_an_error_and_leaves_nothing(world, changes):
    with pytest.raises(NotFoundError):
        await seen(changes, world, "order-nobody")
    assert changes._watchers == {}
