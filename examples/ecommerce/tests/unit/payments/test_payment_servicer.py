from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from google.api.httpbody_pb2 import HttpBody
from prodkit.errors import InvalidArgumentError, NotFoundError, UnauthenticatedError
from prodkit.policies.claim import CLAIM
from shop_doubles import calling, counted

from ecommerce.contract.payments.v1 import payments_pb2 as pb
from ecommerce.payments import repository
from ecommerce.payments.means import Means
from ecommerce.payments.provider import DeclinedError
from ecommerce.payments.repository import Payment
from ecommerce.payments.servicer import PaymentServicer
from ecommerce.sandbox.webhooks import signature

pytestmark = pytest.mark.anyio


@pytest.fixture
def servicer(world):
    return PaymentServicer(
        database=world.database,
        paying=world.paying,
        orders=world.orders,
        webhooks=world.webhooks,
    )


@contextmanager
def under(key):
    token = CLAIM.set(type("Claim", (), {"id": key * 32})())
    try:
        yield
    finally:
        CLAIM.reset(token)


def details(number="4111111111111111"):
    return pb.PaymentDetails(card_number=number, expiry_month="1", expiry_year="2030", cvv="123")


async def create(servicer, number="4111111111111111", *, user="user-1", order="order-1"):
    request = pb.CreatePaymentRequest(
        order_id=order, payment_method="credit_card", payment_details=details(number)
    )
    with calling(user):
        return await servicer.CreatePayment(request, None)


async def test_a_payment_as_the_contract_shows_it(servicer):
    payment = await create(servicer)
    assert (payment.order_id, payment.user_id, payment.status) == ("order-1", "user-1", "captured")
    assert (payment.amount, payment.currency, payment.card_last4) == ("59.98", "USD", "1111")
    assert payment.transaction_id == f"auth_{payment.id}"
    with calling("user-1"):
        assert await servicer.GetPayment(pb.GetPaymentRequest(id=payment.id), None) == payment


async def test_somebody_elses_order_cannot_be_paid_and_is_not_there(servicer, world):
    with pytest.raises(NotFoundError) as caught:
        await create(servicer, user="user-2")
    assert caught.value.reason == "ORDER_NOT_FOUND"
    assert world.provider.calls == []


async def test_somebody_elses_payment_is_not_there(servicer):
    request = pb.GetPaymentRequest(id=(await create(servicer)).id)
    with calling("user-2"), pytest.raises(NotFoundError):
        await servicer.GetPayment(request, None)
    for caller in (("staff-1", "payments:refund"), ("service:orders",)):
        with calling(*caller):
            assert (await servicer.GetPayment(request, None)).id == request.id


async def test_details_are_checked_before_anybody_is_asked(servicer, world):
    with pytest.raises(InvalidArgumentError):
        await create(servicer, "4111111111111112")
    assert world.provider.calls == []


async def test_a_decline_is_an_error_that_names_the_payment(servicer, world):
    with pytest.raises(DeclinedError) as caught:
        await create(servicer, "4000000000000002")
    assert caught.value.reason == "PAYMENT_DECLINED"
    assert caught.value.metadata == {"payment_id": (await world.payment()).id}


async def test_a_repetition_under_its_key_takes_up_the_same_payment(servicer, world):
    with under("a"):
        first = await create(servicer)
        again = await create(servicer)
    assert first == again
    assert first.id == "payment-" + "a" * 20
    assert world.moved == ["captured"]


async def test_a_declined_payment_stays_declined_under_its_key(servicer, world):
    for _ in range(2):
        with under("a"), pytest.raises(DeclinedError):
            await create(servicer, "4000000000000002")
    assert set(world.provider.keys("authorize")) == {"payment-" + "a" * 20 + ":authorize"}
    with under("b"):
        assert (await create(servicer)).status == "captured"


async def test_orders_pay_with_a_handle_as_often_as_they_ask(servicer, world):
    prepared = await servicer.PreparePayment(
        pb.PreparePaymentRequest(
            user_id="user-1", payment_method="credit_card", payment_details=details()
        ),
        None,
    )
    request = pb.PayOrderRequest(order_id="order-1", handle=prepared.handle)
    first = await servicer.PayOrder(request, None)
    assert (first.status, await servicer.PayOrder(request, None)) == ("captured", first)
    assert world.moved == ["captured"]


@pytest.mark.parametrize("told", [True, False], ids=["told", "asked"])
async def test_orders_are_asked_for_the_bill_where_they_did_not_tell_it(
    servicer, world, monkeypatch, told
):
    bill = world.orders.bill
    asked = []

    async def asking(order_id):
        asked.append(order_id)
        return await bill(order_id)

    monkeypatch.setattr(world.orders, "bill", asking)
    handle = await world.paying.prepare("user-1", Means("wallet", "wallet-1"))
    request = pb.PayOrderRequest(order_id="order-1", handle=handle)
    if told:
        request.bill.CopyFrom(pb.Bill(user_id="user-1", amount="12.34", currency="EUR"))
    payment = await servicer.PayOrder(request, None)
    assert payment.status == "captured"
    expected = ("12.34", "EUR", []) if told else ("59.98", "USD", ["order-1"])
    assert (payment.amount, payment.currency, asked) == expected


async def test_a_bill_is_not_paid_with_somebody_elses_means(servicer, world):
    handle = await world.paying.prepare("user-2", Means("wallet", "wallet-1"))
    bill = pb.Bill(user_id="user-1", amount="12.34", currency="EUR")
    with pytest.raises(NotFoundError):
        await servicer.PayOrder(
            pb.PayOrderRequest(order_id="order-1", handle=handle, bill=bill), None
        )
    assert world.moved == []


async def test_nothing_is_taken_for_a_bill_whose_order_is_gone(servicer, world):
    world.orders.cancelled.add("order-1")
    handle = await world.paying.prepare("user-1", Means("wallet", "wallet-1"))
    bill = pb.Bill(user_id="user-1", amount="12.34", currency="EUR")
    payment = await servicer.PayOrder(
        pb.PayOrderRequest(order_id="order-1", handle=handle, bill=bill), None
    )
    assert (payment.status, world.moved) == ("failed", [])


async def test_webhooks_are_verified_by_their_signature(servicer, world):
    world.provider.faults["authorize"] = ["away"] * 100
    payment = await create(servicer)
    body = b'{"type": "payment.captured", "reference": "%s"}' % payment.id.encode()
    signed = signature(b"what the provider and the shop know", body, world.clock.wall())
    with calling("anonymous"), pytest.raises(UnauthenticatedError):
        await servicer.ReceiveWebhook(HttpBody(data=body), None)
    with calling("anonymous", x_provider_signature=signed):
        await servicer.ReceiveWebhook(HttpBody(data=body), None)
    assert (await world.payment()).status == "captured"


async def test_payments_are_listed_to_whom_they_are_by_pages(servicer, world):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    async with world.units() as work:
        for number in range(100):
            at = (start + timedelta(seconds=number // 2)).isoformat()
            payment = Payment(
                id=f"payment-{number:03}",
                order_id=f"order-{number}",
                user_id="user-2" if number == 50 else "user-1",
                status="captured",
                method="wallet",
                handle="means-1",
                amount="1.00",
                currency="USD",
                created_at=at,
                updated_at=at,
            )
            await repository.add(work, payment)
    for size in (10, 100):  # scenario 24
        found, token = [], ""
        with calling("user-1"):
            while True:
                request = pb.ListPaymentsRequest(page_size=size, page_token=token)
                with counted(world.database) as statements:
                    page = await servicer.ListPayments(request, None)
                assert len([each for each in statements if each.startswith("SELECT")]) == 1
                found += [payment.id for payment in page.payments]
                token = page.next_page_token
                if not token:
                    break
        assert found == [f"payment-{n:03}" for n in reversed(range(100)) if n != 50]
