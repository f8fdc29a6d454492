"""Scenario 7: webhooks repeated, out of order, forged, and old."""

import asyncio
import hashlib
import hmac
import json
from itertools import permutations

import pytest
from prodkit.errors import InvalidArgumentError, UnauthenticatedError
from shop_doubles import counted

from ecommerce.payments import repository

pytestmark = pytest.mark.anyio
SECRET = b"what the provider and the shop know"


def signed(body, at, secret=SECRET):
    mac = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={mac}"


def report(kind, reference="payment-of-order-1"):
    return json.dumps({"id": "evt_1", "type": kind, "reference": reference}).encode()


@pytest.fixture
async def world(world):
    """A payment whose authorization hangs: nobody but the provider moves it."""
    world.provider.faults["authorize"] = ["away"] * 1000
    await world.pay()
    return world


@pytest.fixture
def receive(world, clock):
    async def receive(kind, *, age=0):
        body = report(kind)
        await world.webhooks.receive(body, signed(body, int(clock.wall()) - age))
        return (await world.payment()).status

    return receive


async def test_moves_the_payment(world, receive):
    assert await receive("payment.authorized") == "authorized"
    assert await receive("payment.captured") == "captured"
    assert await receive("payment.refunded") == "refunded"
    assert world.events.types == ["payment.captured", "payment.refunded"]


async def test_ten_duplicates_at_once_are_one_transition(world, receive):
    await asyncio.gather(*(receive("payment.captured") for _ in range(10)))
    assert world.events.types == ["payment.captured"]


@pytest.mark.parametrize("order", list(permutations(["authorized", "captured", "authorized"])))
async def test_in_any_order_a_late_authorized_never_undoes_captured(world, receive, order):
    for kind in order:
        await receive(f"payment.{kind}")
    assert (await world.payment()).status == "captured"
    assert world.events.types == ["payment.captured"]


async def test_a_late_capture_never_undoes_a_refund(world, receive):
    for kind in ("captured", "refunded", "captured", "authorized"):
        await receive(f"payment.{kind}")
    assert (await world.payment()).status == "refunded"


async def test_what_says_nothing_new_changes_nothing(world, receive):
    assert await receive("payment.voided") == "pending"
    assert await receive("payment.refunded") == "pending"
    assert await receive("customer.created") == "pending"


@pytest.mark.parametrize("late", ["authorized", "captured"])
async def test_what_is_known_already_writes_nothing(world, receive, late):
    await receive("payment.captured")
    with counted(world.database) as statements:
        assert await receive(f"payment.{late}") == "captured"
    assert [each for each in statements if not each.startswith("SELECT")] == []


@pytest.mark.parametrize(
    ("status", "ahead"),
    [
        ("pending", {"authorized", "captured", "failed", "refunded"}),
        ("authorized", {"captured", "failed", "refunded"}),
        ("captured", {"refunded"}),
        ("failed", set()),
        ("refunded", set()),
    ],
)
def test_what_may_still_become_of_a_payment(status, ahead):
    assert {to for to in repository.BEFORE if repository.may_reach(status, to)} == ahead


async def test_a_payment_of_somebody_else_is_no_error(world, clock):
    body = report("payment.captured", "payment-unknown")
    await world.webhooks.receive(body, signed(body, int(clock.wall())))
    assert world.events.all == []


@pytest.mark.parametrize(("age", "taken"), [(299, True), (300, True), (301, False), (-301, False)])
async def test_reports_are_believed_for_five_minutes(world, receive, age, taken):
    if taken:
        assert await receive("payment.captured", age=age) == "captured"
        return
    with pytest.raises(UnauthenticatedError) as caught:
        await receive("payment.captured", age=age)
    assert caught.value.reason == "SIGNATURE_STALE"
    assert (await world.payment()).status == "pending"


GENUINE, NOW = report("payment.captured"), 1_700_000_000


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "t=1700000000",
        f"v1={'0' * 64}",
        f"t={NOW},v1={'0' * 64}",
        signed(GENUINE, NOW, secret=b"a guess"),
        signed(GENUINE, NOW).replace("t=1700000000", "t=1700000001"),
        signed(GENUINE + b" ", NOW),
        signed(GENUINE, NOW)[:-1],
        signed(GENUINE, NOW).upper(),
        signed(GENUINE, NOW).replace("v1=", "v0="),
        "t=ü,v1=\udcff",
        ",,,=,=",
    ],
)
async def test_what_is_forged_is_refused(world, signature):
    with pytest.raises(UnauthenticatedError) as caught:
        await world.webhooks.receive(GENUINE, signature)
    assert caught.value.reason == "SIGNATURE_INVALID"
    assert (await world.payment()).status == "pending"


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{}", b"\xff", b'{"type": "x"}', b"{"])
async def test_what_is_signed_and_no_report_is_refused(world, clock, body):
    with pytest.raises(InvalidArgumentError):
        await world.webhooks.receive(body, signed(body, int(clock.wall())))


async def test_the_sandbox_signs_what_payments_believe(world, clock):
    from ecommerce.sandbox.webhooks import signature

    body = report("payment.captured")
    await world.webhooks.receive(body, signature(SECRET, body, clock.wall()))
    assert (await world.payment()).status == "captured"
