import asyncio
from datetime import timedelta

import pytest
from prodkit.errors import FailedPreconditionError, NotFoundError, UnavailableError
from shop_doubles import counted

from ecommerce.orders.domain.order import PaymentStatus, Status

pytestmark = pytest.mark.anyio


@pytest.fixture
async def placed(world):
    await world.place()
    return world.fulfilment


async def refunded(world, order_id="order-1"):
    async with world.units() as work:
        return await world.fulfilment.refunded(work, order_id)


async def test_confirming_sells_the_stock_and_tells(world, placed):
    order = await placed.confirm("order-1", "payment-1")
    assert (order.status, order.payment_status) == (Status.CONFIRMED, PaymentStatus.PAID)
    assert (order.payment_id, order.version) == ("payment-1", 2)
    assert world.catalog.holds == {"order-1": "sold"}
    [event] = world.events.of("order.confirmed")
    assert (event.data["payment_id"], event.data["version"]) == ("payment-1", 2)
    assert world.changes == [order]


async def test_confirming_again_changes_nothing(world, placed):
    first = await placed.confirm("order-1", "payment-1")
    assert await placed.confirm("order-1", "payment-1") == first
    assert len(world.events.of("order.confirmed")) == 1
    assert world.changes == [first]


async def test_confirming_at_once_happens_once(world, placed):
    await asyncio.gather(*(placed.confirm("order-1", "payment-1") for _ in range(5)))
    assert len(world.events.of("order.confirmed")) == 1


async def test_confirming_again_after_the_shipment_is_no_error(placed):
    await placed.confirm("order-1", "payment-1")
    shipped = await placed.ship("order-1")
    assert await placed.confirm("order-1", "payment-1") == shipped


async def test_a_second_payment_is_refused(placed):
    await placed.confirm("order-1", "payment-1")
    with pytest.raises(FailedPreconditionError):
        await placed.confirm("order-1", "payment-2")


async def test_a_cancelled_order_is_not_confirmed(world, placed):
    await placed.cancel("order-1", "changed my mind")
    with pytest.raises(FailedPreconditionError) as caught:
        await placed.confirm("order-1", "payment-1")
    assert caught.value.metadata["status"] == "cancelled"
    assert world.events.types == ["order.placed", "order.cancelled"]


async def test_a_confirmed_order_can_be_cancelled(world, placed):
    await placed.confirm("order-1", "payment-1")
    order = await placed.cancel("order-1", "changed my mind")
    assert (order.status, order.reason) == (Status.CANCELLED, "changed my mind")
    assert order.payment_status is PaymentStatus.PAID  # until the refund is there
    assert world.events.types == ["order.placed", "order.confirmed", "order.cancelled"]


async def test_a_cancellation_between_the_sale_and_the_confirmation_wins(world, placed):
    commit = world.catalog.commit

    async def slow(order_id):
        await commit(order_id)
        await placed.cancel(order_id, "changed my mind")

    world.catalog.commit = slow
    with pytest.raises(FailedPreconditionError):
        await placed.confirm("order-1", "payment-1")
    assert world.events.of("order.confirmed") == []
    assert len(world.events.of("order.cancelled")) == 1


async def test_a_confirmation_during_the_cancellation_is_of_one_mind(world):
    for number in range(10):
        order_id = f"order-{number}"
        await world.place(order_id)
        answers = await asyncio.gather(
            world.fulfilment.confirm(order_id, "payment-1"),
            world.fulfilment.cancel(order_id, ""),
            return_exceptions=True,
        )
        order = await world.get(order_id)
        # Whoever came first, the cancellation is last: confirmed orders can be cancelled.
        assert order.status is Status.CANCELLED
        confirmed = not isinstance(answers[0], FailedPreconditionError)
        assert (order.payment_status is PaymentStatus.PAID) == confirmed


async def test_a_reservation_that_ran_out_cannot_be_confirmed(world, placed):
    await world.catalog.release("order-1")
    with pytest.raises(FailedPreconditionError) as caught:
        await placed.confirm("order-1", "payment-1")
    assert caught.value.reason == "RESERVATION_RELEASED"
    assert (await world.get()).status is Status.PENDING


async def test_who_dies_after_the_sale_confirms_at_the_next_attempt(world, placed):
    world.catalog.errors = [UnavailableError("the reply was lost")]
    with pytest.raises(UnavailableError):
        await placed.confirm("order-1", "payment-1")
    assert (await placed.confirm("order-1", "payment-1")).status is Status.CONFIRMED


@pytest.mark.parametrize("act", ["confirm", "ship", "deliver", "cancel"])
async def test_there_must_be_an_order(world, act):
    more = {"confirm": ["payment-1"], "cancel": ["why"]}.get(act, [])
    with pytest.raises(NotFoundError):
        await getattr(world.fulfilment, act)("order-nobody", *more)


async def test_shipping_and_delivering_may_be_repeated(world, placed):
    await placed.confirm("order-1", "payment-1")
    for act in (placed.ship, placed.ship, placed.deliver, placed.deliver):
        await act("order-1")
    assert world.events.types[-2:] == ["order.shipped", "order.delivered"]
    assert len(world.events.all) == 4


@pytest.mark.parametrize("act", ["ship", "deliver"])
async def test_nothing_is_shipped_or_delivered_before_its_time(placed, act):
    with pytest.raises(FailedPreconditionError) as caught:
        await getattr(placed, act)("order-1")
    assert caught.value.reason == "ORDER_STATE"


async def test_what_was_shipped_is_not_cancelled(placed):
    await placed.confirm("order-1", "payment-1")
    await placed.ship("order-1")
    with pytest.raises(FailedPreconditionError):
        await placed.cancel("order-1", "too late")


@pytest.mark.parametrize(
    ("steps", "status", "told"),
    [
        ([], Status.CANCELLED, "order.cancelled"),
        (["confirm"], Status.CANCELLED, "order.cancelled"),
        (["confirm", "ship"], Status.REFUNDED, "order.refunded"),
        (["confirm", "ship", "deliver"], Status.REFUNDED, "order.refunded"),
    ],
)
async def test_a_refund_ends_the_order(world, placed, steps, status, told):
    for step in steps:
        await getattr(placed, step)("order-1", *(["payment-1"] if step == "confirm" else []))
    order = await refunded(world)
    assert (order.status, order.payment_status) == (status, PaymentStatus.REFUNDED)
    assert world.events.types[-1] == told
    assert await world.get() == order


async def test_a_cancelled_order_learns_of_its_refund(world, placed):
    await placed.confirm("order-1", "payment-1")
    await placed.cancel("order-1", "changed my mind")
    assert await refunded(world) is None  # its state is what it was: nobody is told again
    order = await world.get()
    assert (order.status, order.payment_status) == (Status.CANCELLED, PaymentStatus.REFUNDED)
    assert order.reason == "changed my mind"
    assert len(world.events.of("order.cancelled")) == 1


async def test_how_the_payment_stands_is_noted_while_the_order_waits(world, placed):
    await placed.payment_stands("order-1", PaymentStatus.PENDING, "payment-1")
    assert (await world.get()).payment_status is PaymentStatus.PENDING
    await placed.confirm("order-1", "payment-1")
    await placed.payment_stands("order-1", PaymentStatus.FAILED, "payment-0")
    order = await world.get()
    assert (order.payment_status, order.payment_id) == (PaymentStatus.PAID, "payment-1")
    await placed.payment_stands("order-nobody", PaymentStatus.FAILED)


async def test_an_order_that_is_being_paid_does_not_expire(world, placed):
    held = await placed.hold("order-1", "payment-1")
    assert (held.payment_status, held.payment_id) == (PaymentStatus.PENDING, "payment-1")
    assert await placed.hold("order-1", "payment-1") == held
    await world.clock.advance(901)
    assert await placed.expire(timedelta(seconds=900)) == 0
    confirmed = await placed.confirm("order-1", "payment-1")
    assert await placed.hold("order-1", "payment-1") == confirmed


async def test_holding_is_one_statement_and_holding_again_changes_nothing(world, placed):
    with counted(world.database) as statements:
        held = await placed.hold("order-1", "payment-1")
    assert [each.split()[0] for each in statements if not each.startswith("BEGIN")] == ["UPDATE"]
    assert await placed.hold("order-1", "payment-1") == held
    assert world.changes == [held]


async def test_a_hold_is_taken_anew_once_its_payment_failed(world, placed):
    await placed.hold("order-1", "payment-1")
    await placed.payment_stands("order-1", PaymentStatus.FAILED, "payment-1")
    held = await placed.hold("order-1", "payment-1")
    assert (held.payment_status, held.version) == (PaymentStatus.PENDING, 4)


async def test_a_payment_that_failed_lets_go_of_its_own_hold_alone(world, placed):
    await placed.hold("order-1", "payment-1")
    await placed.hold("order-1", "payment-2")
    await placed.payment_stands("order-1", PaymentStatus.FAILED, "payment-1")
    assert (await world.get()).payment_status is PaymentStatus.PENDING
    await placed.payment_stands("order-1", PaymentStatus.FAILED, "payment-2")
    await world.clock.advance(901)
    assert await placed.expire(timedelta(seconds=900)) == 1


async def test_an_order_that_has_expired_cannot_be_held(world, placed):
    await world.clock.advance(901)
    await placed.expire(timedelta(seconds=900))
    with pytest.raises(FailedPreconditionError, match="cancelled"):
        await placed.hold("order-1", "payment-1")


async def test_what_nobody_pays_for_expires(world):
    await world.place("order-1")
    await world.place("order-2")
    await world.fulfilment.payment_stands("order-2", PaymentStatus.PENDING)
    await world.clock.advance(901)
    await world.place("order-3")
    assert await world.fulfilment.expire(timedelta(seconds=900)) == 1
    states = [(await world.get(f"order-{number}")).status.value for number in (1, 2, 3)]
    assert states == ["cancelled", "pending", "pending"]
    [event] = world.events.of("order.cancelled")
    assert event.data["reason"] == "not paid in time"
    assert await world.fulfilment.expire(timedelta(seconds=900)) == 0


async def test_expiry_and_confirmation_at_once_are_of_one_mind(world):
    for number in range(10):
        order_id = f"order-{number}"
        await world.place(order_id)
        await world.clock.advance(901)
        answer, _ = await asyncio.gather(
            world.fulfilment.confirm(order_id, "payment-1"),
            world.fulfilment.expire(timedelta(seconds=900)),
            return_exceptions=True,
        )
        order = await world.get(order_id)
        refused = isinstance(answer, FailedPreconditionError)
        assert order.status is (Status.CANCELLED if refused else Status.CONFIRMED)
