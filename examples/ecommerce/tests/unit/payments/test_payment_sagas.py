import asyncio
import json

import pytest
from prodkit.data.saga import SagaStatus
from prodkit.data.saga.table import sagas
from prodkit.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    NotFoundError,
    UnavailableError,
)
from shop_doubles import counted
from sqlalchemy import update

pytestmark = pytest.mark.anyio


class Crash(BaseException):
    """The process died here."""


async def test_a_good_card_pays_and_confirms_in_one_call(world):
    payment = await world.pay()
    assert payment.status == "captured"
    assert payment.card_last4 == "1111"
    assert world.orders.confirmed == {"order-1": payment.id}
    assert world.moved == ["captured"]
    assert world.events.types == ["payment.captured"]


async def test_a_payment_reads_itself_and_its_means_no_more_than_it_must(world):
    handle, bill = await world.paying.prepare("user-1", _card()), await world.orders.bill("order-1")
    with counted(world.database) as statements:
        assert (await world.paying.pay(bill, handle, "payment-1")).status == "captured"
    read = [each.split("FROM ")[1].split()[0] for each in statements if each.startswith("SELECT")]
    # The means: whose it is, and its token; the payment: how it stands in the end.
    assert read == ["means", "means", "payments"]


async def test_a_saga_that_carries_nothing_reads_its_payment(world):
    world.provider.faults["authorize"] = ["away"]
    payment = await world.pay()
    async with world.database.transaction() as tx:
        bare = json.dumps({"payment_id": payment.id})
        await tx.execute(update(sagas).values(state=bare))
    await world.later(times=2)
    assert (await world.payment()).status == "captured"
    assert world.orders.confirmed == {"order-1": payment.id}


@pytest.mark.parametrize("step", ["authorize", "capture"])
async def test_a_lost_reply_is_asked_for_again_under_the_same_key(world, step):
    world.provider.faults[step] = ["lost", "lost"]
    assert (await world.pay()).status in {"pending", "authorized"}
    await world.later(times=3)
    assert (await world.payment()).status == "captured"
    assert len(world.provider.keys(step)) == 3
    assert len(set(world.provider.keys(step))) == 1
    assert world.moved == ["captured"]


async def test_a_declined_card_fails_and_says_why(world):
    payment = await world.pay("4000000000000002")
    assert payment.status == "failed"
    assert "card_declined" in payment.message
    assert world.moved == []
    [event] = world.events.of("payment.failed")
    assert event.subject == "order-1"
    assert "card_declined" in event.data["reason"]


async def test_insufficient_funds_at_the_capture_let_go_of_what_was_held(world):
    payment = await world.pay("4000000000009995")
    assert payment.status == "failed"
    assert "insufficient_funds" in payment.message
    assert world.moved == ["voided"]
    assert world.orders.confirmed == {}


async def test_after_a_failure_another_means_may_pay(world):
    await world.pay("4000000000000002")
    handle = await world.paying.prepare("user-1", _card())
    bill = await world.orders.bill("order-1")
    assert (await world.paying.pay(bill, handle, "payment-2")).status == "captured"


async def test_an_order_has_one_live_payment(world):
    await world.pay()
    handle = await world.paying.prepare("user-1", _card())
    bill = await world.orders.bill("order-1")
    with pytest.raises(AlreadyExistsError):
        await world.paying.pay(bill, handle, "payment-2")
    assert world.moved == ["captured"]


async def test_payments_at_once_charge_once(world):
    bill = await world.orders.bill("order-1")
    handles = [await world.paying.prepare("user-1", _card()) for _ in range(5)]
    asked = [world.paying.pay(bill, handle, f"p-{n}") for n, handle in enumerate(handles)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, AlreadyExistsError)]
    assert len(refused) == 4
    assert world.moved == ["captured"]


async def test_a_cancelled_order_cannot_be_paid(world):
    world.orders.cancelled.add("order-1")
    with pytest.raises(FailedPreconditionError):
        await world.pay()


async def test_no_money_is_taken_for_an_order_that_expired_meanwhile(world):
    handle = await world.paying.prepare("user-1", _card())
    bill = await world.orders.bill("order-1")
    world.orders.cancelled.add("order-1")
    payment = await world.paying.pay(bill, handle, "payment-1")
    assert (payment.status, payment.message) == ("failed", "the order can no longer be had")
    assert world.moved == []


async def test_nobody_pays_with_somebody_elses_means(world):
    handle = await world.paying.prepare("user-2", _card())
    with pytest.raises(NotFoundError):
        await world.paying.pay(await world.orders.bill("order-1"), handle, "payment-1")


async def test_an_order_that_cannot_be_had_gets_its_money_back(world):
    world.orders.errors = [FailedPreconditionError("the reservation ran out")]
    payment = await world.pay()
    assert payment.status == "refunded"
    assert payment.message == "the order can no longer be had"
    assert world.moved == ["captured", "refunded"]
    [event] = world.events.of("payment.refunded")
    assert event.data["reason"] == "the order can no longer be had"


async def test_a_confirmation_that_is_away_is_waited_for(world):
    world.orders.errors = [UnavailableError("away")] * 5
    assert (await world.pay()).status == "captured"
    assert world.orders.confirmed == {}
    await world.later(times=6)
    assert world.orders.confirmed == {"order-1": "payment-of-order-1"}
    assert world.moved == ["captured"]


async def test_while_the_provider_is_away_the_payment_is_pending_and_settles_by_itself(world):
    world.provider.faults = {"tokenize": ["away"] * 4, "authorize": ["away"] * 3}
    payment = await world.pay()
    assert payment.status == "pending"
    assert payment.card_last4 == ""
    await world.later(times=8)
    payment = await world.payment()
    assert payment.status == "captured"
    assert payment.card_last4 == "1111"
    assert world.vault.get(payment.handle) is None


async def test_a_restart_forgets_the_card_and_says_so(world):
    world.provider.faults = {"tokenize": ["away", "away"]}
    await world.pay()
    world.start()
    await world.later(times=2)
    payment = await world.payment()
    assert payment.status == "failed"
    assert payment.message == "the payment details must be entered again"
    assert world.provider.keys("authorize") == []


async def test_a_card_that_waited_too_long_is_asked_for_again(world):
    world.provider.faults = {"tokenize": ["away"] * 100}
    await world.pay()
    await world.later(901.0)
    payment = await world.payment()
    assert (payment.status, payment.message) == (
        "failed",
        "the payment details must be entered again",
    )


async def test_a_transfer_is_pending_until_the_money_arrives(world):
    payment = await world.pay("DE02120300000000202051", method="bank_transfer")
    assert (payment.status, payment.card_last4) == ("pending", "")
    await world.later(times=3)
    assert (await world.payment()).status == "pending"
    world.provider.arrive(payment.id)
    await world.later()
    assert (await world.payment()).status == "captured"
    assert world.orders.confirmed == {"order-1": payment.id}


async def test_a_transfer_that_arrives_for_a_cancelled_order_goes_back(world):
    payment = await world.pay("DE02120300000000202051", method="bank_transfer")
    await world.cancel()
    world.provider.arrive(payment.id)
    await world.later(times=2)
    assert (await world.payment()).status == "refunded"
    assert world.moved == ["captured", "refunded"]


async def test_a_transfer_that_was_captured_behind_a_lost_reply_goes_back(world):
    """The authorization's id never reached us, and the webhook told of the money first."""
    world.provider.faults["authorize"] = ["lost"]
    payment = await world.pay("DE02120300000000202051", method="bank_transfer")
    world.provider.arrive(payment.id)
    await world.states.move(payment.id, "captured")
    await world.cancel()
    await world.later(times=3)
    assert (await world.payment()).status == "refunded"
    assert world.moved == ["captured", "refunded"]


async def test_money_that_arrives_while_it_is_let_go_goes_back(world):
    """Between the look and the void the transfer came in: the void is refused."""
    payment = await world.pay("DE02120300000000202051", method="bank_transfer")
    void = world.provider.void

    async def too_late(authorization, key):
        if world.moved == []:
            world.provider.arrive(payment.id)
        await void(authorization, key)

    world.provider.void = too_late
    world.provider.faults["status"] = [None] + ["away"] * 199
    await world.later(times=220)
    assert (await world.payment()).status == "refunded"
    assert world.moved == ["captured", "refunded"]
    assert (await world.runner.get(payment.id)).status is SagaStatus.COMPENSATED


async def test_a_cancelled_order_gets_its_money_back_once(world):
    payment = await world.pay()
    await world.cancel()
    await world.cancel()
    await world.later(times=2)
    assert (await world.payment()).status == "refunded"
    assert world.moved == ["captured", "refunded"]
    assert (await world.runner.get(f"refund-{payment.id}")).status is SagaStatus.COMPLETED


async def test_two_sagas_that_give_back_at_once_give_back_once(world):
    """The order is cancelled just when the payment asks for its confirmation."""
    world.orders.errors = [UnavailableError("away")]
    payment = await world.pay()
    await world.cancel()
    await world.later(times=2)
    assert world.moved == ["captured", "refunded"]
    assert len(set(world.provider.keys("refund"))) == 1
    assert (await world.runner.get(payment.id)).status is SagaStatus.COMPENSATED
    assert (await world.runner.get(f"refund-{payment.id}")).status is SagaStatus.COMPLETED


async def test_staff_refund_a_captured_payment_and_may_repeat_it(world):
    payment = await world.pay()
    assert (await world.paying.refund(payment.id)).status == "refunded"
    assert (await world.paying.refund(payment.id)).status == "refunded"
    assert world.moved == ["captured", "refunded"]
    assert world.events.types == ["payment.captured", "payment.refunded"]


async def test_only_what_was_captured_can_be_refunded(world):
    payment = await world.pay("4000000000000002")
    with pytest.raises(FailedPreconditionError):
        await world.paying.refund(payment.id)
    with pytest.raises(NotFoundError):
        await world.paying.refund("payment-nobody")


async def test_a_refund_outlasts_a_provider_that_is_away(world):
    payment = await world.pay()
    world.provider.faults["refund"] = ["away"] * 30
    assert (await world.paying.refund(payment.id)).status == "captured"
    await world.later(61.0, times=31)
    assert (await world.payment()).status == "refunded"


async def test_a_compensation_outlasts_a_provider_that_is_away(world):
    world.orders.errors = [FailedPreconditionError("gone")]
    world.provider.faults["refund"] = ["away"] * 40
    await world.pay()
    await world.later(times=41)
    assert (await world.payment()).status == "refunded"


@pytest.mark.parametrize("effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("place", ["authorize", "capture", "confirm"])
async def test_a_process_that_dies_is_taken_over_by_the_next(world, place, effect):
    owner = world.orders if place == "confirm" else world.provider
    whole = getattr(owner, place)

    async def dying(*arguments):
        if effect:
            await whole(*arguments)
        raise Crash

    setattr(owner, place, dying)
    await world.pay()
    setattr(owner, place, whole)
    world.start()
    await world.later(30.0)
    assert (await world.payment()).status == "captured"
    assert world.orders.confirmed == {"order-1": "payment-of-order-1"}
    assert world.moved == ["captured"]
    assert world.events.types == ["payment.captured"]


def _card():
    from ecommerce.payments.means import Means

    return Means("credit_card", "4111111111111111", "12", "2030", "123")
