import pytest
from prodkit.data.saga import SagaStatus
from prodkit.errors import FailedPreconditionError, UnavailableError

from ecommerce.orders.application.checkout import DeclinedError
from ecommerce.orders.application.ports import Bill
from ecommerce.orders.domain.order import Line, PaymentStatus, Status

pytestmark = pytest.mark.anyio


class Crash(BaseException):
    """The process died here."""


async def checkout(world):
    await world.checkout.begin(world.wish(), "means-1")
    return await world.checkout.finish("order-1")


async def test_places_pays_and_confirms(world):
    assert await checkout(world) == ("paid", "")
    order = await world.get()
    assert (order.status, order.payment_status) == (Status.CONFIRMED, PaymentStatus.PAID)
    assert world.payments.asked == [("order-1", "means-1")]
    assert world.events.types == ["order.placed", "order.confirmed"]


async def test_order_and_saga_begin_together_or_not_at_all(world):
    await world.place()
    with pytest.raises(Exception, match="UNIQUE"):
        await world.checkout.begin(world.wish(), "means-1")
    assert await world.runner.store.get("order-1") is None


async def test_a_decline_cancels_the_order(world):
    world.payments.answers = ["failed"]
    with pytest.raises(DeclinedError) as caught:
        await checkout(world)
    assert caught.value.metadata == {"order_id": "order-1"}
    order = await world.get()
    assert (order.status, order.payment_status) == (Status.CANCELLED, PaymentStatus.FAILED)
    assert world.events.types == ["order.placed", "order.cancelled"]
    with pytest.raises(DeclinedError):
        await world.checkout.finish("order-1")
    assert len(world.payments.asked) == 1


@pytest.mark.parametrize("answer", ["pending", "authorized", UnavailableError("away")])
async def test_a_payment_that_takes_longer_settles_by_itself(world, answer):
    world.payments.answers = [answer, answer, "captured"]
    status, message = await checkout(world)
    assert (status, bool(message)) == ("pending", True)
    assert (await world.get()).status is Status.PENDING
    await world.later(times=3)
    assert (await world.get()).status is Status.CONFIRMED
    assert await world.checkout.finish("order-1") == ("paid", "")


async def test_payments_is_told_the_bill_once_and_looks_for_itself_later(world):
    world.payments.answers = ["pending", "captured"]
    await checkout(world)
    await world.later()
    order = await world.get()
    bill = Bill("user-1", str(order.totals.total), order.totals.total.currency)
    assert world.payments.bills == [bill, None]


async def test_while_its_payment_is_under_way_an_order_does_not_expire(world):
    from datetime import timedelta

    world.payments.answers = ["pending"]
    await checkout(world)
    await world.clock.advance(901)
    assert await world.fulfilment.expire(timedelta(seconds=900)) == 0
    assert (await world.get()).payment_status is PaymentStatus.PENDING


async def test_an_order_that_is_cancelled_while_it_is_paid_is_not_called_paid(world):
    world.payments.answers = ["pending", "captured"]
    await checkout(world)
    await world.fulfilment.cancel("order-1", "changed my mind")

    async def confirmed_before(order_id, payment_id):
        pass

    world.payments.confirm = confirmed_before
    await world.later()
    with pytest.raises(DeclinedError):
        await world.checkout.finish("order-1")
    assert (await world.get()).reason == "changed my mind"


async def test_a_payment_that_was_given_back_cancels_the_order(world):
    world.payments.answers = ["refunded"]
    with pytest.raises(DeclinedError):
        await checkout(world)
    assert (await world.get()).status is Status.CANCELLED


async def test_an_order_that_cannot_be_paid_any_more_is_cancelled(world):
    world.payments.answers = [FailedPreconditionError("order-1 is cancelled")]
    with pytest.raises(DeclinedError):
        await checkout(world)
    assert (await world.get()).status is Status.CANCELLED


@pytest.mark.parametrize(("age", "times"), [(449, 1), (450, 2)])
async def test_stock_is_asked_for_again_only_where_it_may_be_gone(world, age, times):
    await world.checkout.begin(world.wish(("tea", 1), ("mug", 2)), "means-1")
    await world.clock.advance(age)
    assert await world.checkout.finish("order-1") == ("paid", "")
    assert world.catalog.reserved == times
    assert (world.payments.bills == [None]) == (times == 2)


async def test_what_is_asked_for_again_is_what_was_held(world):
    await world.checkout.begin(world.wish(("tea", 1), ("mug", 2), ("tea", 3)), "means-1")
    held = world.catalog.holds.pop("order-1")
    world.payments.answers = ["pending"]
    await world.clock.advance(450)
    await world.checkout.finish("order-1")
    assert world.catalog.holds == {"order-1": held} == {"order-1": [Line("mug", 2), Line("tea", 4)]}


async def test_a_reservation_that_is_gone_cancels_before_anything_is_paid(world):
    await world.checkout.begin(world.wish(), "means-1")
    await world.clock.advance(450)
    await world.catalog.release("order-1")
    with pytest.raises(DeclinedError):
        await world.checkout.finish("order-1")
    assert world.payments.asked == []
    assert (await world.get()).status is Status.CANCELLED


async def test_without_stock_there_is_neither_order_nor_saga(world):
    world.catalog.errors = [FailedPreconditionError("none left", reason="OUT_OF_STOCK")]
    with pytest.raises(FailedPreconditionError):
        await checkout(world)
    assert await world.runner.store.get("order-1") is None
    assert await world.placing.find(world.wish()) is None


@pytest.mark.parametrize("effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("place", ["reserve", "pay"])
async def test_a_process_that_dies_is_taken_over_by_the_next(world, place, effect):
    await world.checkout.begin(world.wish(), "means-1")
    owner = world.catalog if place == "reserve" else world.payments
    await world.clock.advance(450)
    whole = getattr(owner, place)

    async def dying(*arguments):
        if effect:
            await whole(*arguments)
        raise Crash

    setattr(owner, place, dying)
    assert (await world.checkout.finish("order-1"))[0] == "pending"
    setattr(owner, place, whole)
    world.start()
    await world.later(30.0)
    assert await world.checkout.finish("order-1") == ("paid", "")
    assert world.events.types == ["order.placed", "order.confirmed"]


async def test_a_process_that_dies_before_it_drives_is_taken_over(world):
    await world.checkout.begin(world.wish(), "means-1")
    world.start()
    await world.later()
    assert (await world.runner.get("order-1")).status is SagaStatus.COMPLETED
    assert (await world.get()).status is Status.CONFIRMED


async def test_a_process_that_dies_while_it_cancels_is_taken_over(world):
    world.payments.answers = ["failed"]
    cancel = world.fulfilment.cancel

    async def dying(*arguments):
        await cancel(*arguments)
        raise Crash

    world.fulfilment.cancel = dying
    with pytest.raises(DeclinedError):
        await checkout(world)
    world.fulfilment.cancel = cancel
    world.start()
    await world.later(30.0)
    assert (await world.runner.get("order-1")).status is SagaStatus.COMPENSATED
    assert world.events.types == ["order.placed", "order.cancelled"]
