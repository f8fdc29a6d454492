import asyncio

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span
from prodkit.call import Kind, current_call
from prodkit.errors import UnavailableError
from prodkit.messaging.event import Event
from prodkit.pipeline import Pipeline
from shop_doubles import counted

from ecommerce.notifications.dispatch import (
    LEASE,
    LONGEST_WAIT,
    MAX_ATTEMPTS,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def tell(shop):
    async def tell(count=1):
        for number in range(count):
            data = {"order_id": "order-1", "user_id": "user-1"}
            await shop.telling.handle(Event("order.shipped", "order-1", data, id=f"e-{number}"))

    return tell


@pytest.fixture
def mail(shop):
    return shop.channels["email"]


async def statuses(shop):
    return [(row["status"], row["attempts"]) for row in await shop.rows()]


async def test_sends_what_is_due_once(shop, tell, mail):
    await tell()
    await shop.dispatcher().send_due()
    await shop.dispatcher().send_due()
    [(message_id, recipient, subject, body)] = mail.sent
    assert (message_id, recipient) == ("e-0-email", "ann@example.com")
    assert subject == "Your order order-1 is on its way"
    assert body.startswith("Hello Ann,")
    [row] = await shop.rows()
    assert (row["status"], row["attempts"]) == ("sent", 1)
    assert row["sent_at"]


async def test_a_mail_is_three_statements(shop, tell):
    await tell()
    with counted(shop.database) as statements:
        await shop.dispatcher().send_due()
    kinds = [each.split()[0] for each in statements if not each.startswith("BEGIN")]
    assert kinds == ["SELECT", "UPDATE", "UPDATE"]


async def test_sends_all_of_many(shop, tell, mail):
    await tell(30)
    await shop.dispatcher(parallel=8).send_due()
    assert len({message_id for message_id, *_ in mail.sent}) == len(mail.sent) == 30


async def test_a_failure_is_tried_again_later_under_the_same_id(shop, tell, mail, clock):
    await tell()
    mail.errors = [UnavailableError("away")] * 2
    for waits in (1.0, 2.0):
        await shop.dispatcher().send_due()
        assert mail.sent == []
        await clock.advance(waits - 0.01)
        await shop.dispatcher().send_due()
        assert mail.sent == []
        await clock.advance(0.01)
    await shop.dispatcher().send_due()
    assert [message_id for message_id, *_ in mail.sent] == ["e-0-email"]
    assert await statuses(shop) == [("sent", 3)]


async def test_after_the_last_attempt_it_is_given_up(shop, tell, mail, clock):
    await tell()
    mail.errors = [UnavailableError("away")] * MAX_ATTEMPTS
    for _ in range(MAX_ATTEMPTS + 3):
        await shop.dispatcher().send_due()
        await clock.advance(LONGEST_WAIT)
    assert await statuses(shop) == [("failed", MAX_ATTEMPTS)]
    assert mail.sent == []


async def test_one_that_cannot_be_sent_holds_up_no_other(shop, tell, mail):
    await tell(3)
    mail.errors = [ValueError("a header that is none"), None, None]
    await shop.dispatcher(parallel=1).send_due()
    assert len(mail.sent) == 2
    assert sorted(await statuses(shop)) == [("pending", 1), ("sent", 1), ("sent", 1)]


async def test_an_attempt_is_a_call_in_the_trace_and_the_request_of_the_event(
    shop, tell, mail, clock
):
    calls = []

    async def watch(call, proceed):
        assert current_call() is call
        calls.append(call)
        return await proceed(call)

    with use_span(NonRecordingSpan(SpanContext(0xAB, 0xCD, is_remote=False))):
        data = {"order_id": "order-1", "user_id": "user-1"}
        await shop.telling.handle(Event("order.shipped", "order-1", data, request_id="r-1"))
    mail.errors = [UnavailableError("away")]
    for _ in range(2):
        await shop.dispatcher(pipeline=Pipeline(watch)).send_due()
        await clock.advance(LONGEST_WAIT)
    assert [call.attempt for call in calls] == [1, 2]
    assert {(call.operation, call.kind, call.request_id) for call in calls} == {
        ("send email", Kind.CONSUMER, "r-1")
    }
    assert calls[0].metadata == {"traceparent": f"00-{0xAB:032x}-{0xCD:016x}-00"}


async def test_processes_share_the_work(shop, tell, mail):
    await tell(20)
    await asyncio.gather(*(shop.dispatcher().send_due() for _ in range(3)))
    assert len(mail.sent) == 20


async def test_what_a_dead_process_took_is_sent_after_its_lease(shop, tell, mail, clock):
    await tell()
    mail.errors = [asyncio.CancelledError()]
    with pytest.raises(asyncio.CancelledError):
        await shop.dispatcher().send_due()
    await clock.advance(LEASE - 0.01)
    await shop.dispatcher().send_due()
    assert mail.sent == []
    await clock.advance(0.01)
    await shop.dispatcher().send_due()
    assert [message_id for message_id, *_ in mail.sent] == ["e-0-email"]
