import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from prodkit.errors import InvalidArgumentError, UnavailableError
from prodkit.messaging.event import Event
from shop_doubles import calling, counted

from ecommerce.contract.notifications.v1 import (
    notifications_pb2 as pb,
)
from ecommerce.notifications.messages import TEXTS, text_for

pytestmark = pytest.mark.anyio

ORDER = {
    "order_id": "order-1",
    "user_id": "user-1",
    "status": "confirmed",
    "version": 2,
    "total_amount": "31.40",
    "currency": "USD",
    "payment_id": "payment-1",
    "reason": "",
    "items": [{"product_id": "mug", "name": "Mug", "quantity": 2}],
}
PAYMENT = {
    "payment_id": "payment-1",
    "order_id": "order-1",
    "user_id": "user-1",
    "amount": "31.40",
    "currency": "USD",
    "reason": "",
}
DATA = {
    "user.registered": {"user_id": "user-1", "email": "ann@example.com", "name": "Ann"},
    **dict.fromkeys(
        ("order.confirmed", "order.shipped", "order.delivered", "order.cancelled"), ORDER
    ),
    **dict.fromkeys(("payment.refunded", "payment.failed"), PAYMENT),
}


def about(type_="order.confirmed", id_="event-1", **data):
    return Event(type_, "order-1", {**DATA[type_], **data}, id=id_, source="/services/orders")


async def prefer(shop, user="user-1", **channels):
    request = pb.UpdatePreferencesRequest(
        preferences=pb.Preferences(**channels), update_mask=FieldMask(paths=channels)
    )
    with calling(user):
        return await shop.servicer.UpdatePreferences(request, None)


async def channels_told(shop):
    return {row["channel"] for row in await shop.rows()}


@pytest.mark.parametrize("type_", TEXTS)
def test_every_event_has_a_text_that_speaks_to_the_person(type_):
    text = text_for(type_, "Ann", DATA[type_])
    assert text.body.startswith("Hello Ann,\n\n")
    assert text.subject
    assert "\n" not in text.subject
    if type_ != "user.registered":
        assert "order-1" in text.subject


def test_a_confirmation_says_what_and_how_much():
    body = text_for("order.confirmed", "Ann", ORDER).body
    assert "2 x Mug" in body
    assert "Total: 31.40 USD" in body


@pytest.mark.parametrize(("reason", "said"), [("", "cancelled."), ("too late", "(too late)")])
def test_a_cancellation_says_why_if_there_is_a_reason(reason, said):
    assert said in text_for("order.cancelled", "Ann", ORDER | {"reason": reason}).body


def test_a_refund_says_how_much():
    assert "31.40 USD" in text_for("payment.refunded", "Ann", PAYMENT).body


def test_every_event_with_a_text_is_covered_here():
    assert set(DATA) == set(TEXTS)


async def test_an_event_is_told_by_mail_unless_one_chose_otherwise(shop):
    await shop.telling.handle(about())
    [row] = await shop.rows()
    assert (row["channel"], row["recipient"]) == ("email", "ann@example.com")
    assert (row["id"], row["event_type"]) == ("event-1-email", "order.confirmed")
    assert (row["status"], row["attempts"]) == ("pending", 0)
    assert shop.woken == [True]


async def test_an_event_is_told_once_however_often_it_comes(shop):
    await asyncio.gather(*(shop.telling.handle(about()) for _ in range(5)))
    await shop.telling.handle(about())
    assert len(await shop.rows()) == 1


async def test_events_that_differ_are_told_each(shop):
    await shop.telling.handle(about(id_="event-1"))
    await shop.telling.handle(about("order.shipped", "event-2"))
    assert len(await shop.rows()) == 2


async def test_all_chosen_channels_are_told(shop):
    await prefer(shop, email=False, sms=True, push=True)
    await shop.telling.handle(about())
    assert {row["channel"]: row["recipient"] for row in await shop.rows()} == {
        "sms": "+4915112345678",
        "push": "user-1",
    }


async def test_who_wants_nothing_is_told_nothing(shop):
    await prefer(shop, email=False)
    await shop.telling.handle(about())
    assert await shop.rows() == []


async def test_who_has_no_phone_gets_no_sms(shop):
    await prefer(shop, "user-2", sms=True)
    await shop.telling.handle(about(user_id="user-2"))
    assert await channels_told(shop) == {"email"}


async def test_a_user_who_is_gone_is_told_nothing(shop):
    await shop.telling.handle(about(user_id="user-nobody"))
    assert await shop.rows() == []


async def test_while_users_is_away_the_event_stays_untold(shop):
    shop.users.away = True
    with pytest.raises(UnavailableError):
        await shop.telling.handle(about())
    shop.users.away = False
    await shop.telling.handle(about())
    assert len(await shop.rows()) == 1


async def test_preferences_are_ones_own_and_change_by_the_mask(shop):
    with calling("user-1"):
        asked = pb.GetPreferencesRequest()
        default = await shop.servicer.GetPreferences(asked, None)
        assert (default.email, default.sms, default.push) == (True, False, False)
        await prefer(shop, push=True)
        changed = await prefer(shop, email=False)
        assert (changed.email, changed.sms, changed.push) == (False, False, True)
        assert await shop.servicer.GetPreferences(asked, None) == changed
    with calling("user-2"):
        assert await shop.servicer.GetPreferences(asked, None) == default


@pytest.mark.parametrize("paths", [[], ["user_id"], ["email", "fax"]])
async def test_other_preferences_there_are_none(shop, paths):
    request = pb.UpdatePreferencesRequest(update_mask=FieldMask(paths=paths))
    with calling("user-1"), pytest.raises(InvalidArgumentError) as caught:
        await shop.servicer.UpdatePreferences(request, None)
    assert [v.field for v in caught.value.violations] == ["/update_mask"]


async def test_notifications_are_listed_to_whom_they_were_for(shop):
    for number in range(12):
        await shop.telling.handle(about(id_=f"event-{number:02}"))
    await shop.telling.handle(about(id_="event-x", user_id="user-2"))
    found, token = [], ""
    with calling("user-1"):
        while True:
            request = pb.ListNotificationsRequest(page_size=5, page_token=token)
            with counted(shop.database) as statements:
                page = await shop.servicer.ListNotifications(request, None)
            assert len([each for each in statements if each.startswith("SELECT")]) == 1
            found += [notification.event_id for notification in page.notifications]
            token = page.next_page_token
            if not token:
                break
    assert found == [f"event-{number:02}" for number in reversed(range(12))]
