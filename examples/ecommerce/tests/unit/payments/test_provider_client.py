"""The client against the sandbox's own app: they must mean the same."""

import httpx2
import pytest
from prodkit.errors import UnavailableError

from ecommerce.payments.means import Means
from ecommerce.payments.provider import DeclinedError, ProviderClient
from ecommerce.sandbox.app import create_app
from ecommerce.sandbox.mailbox import Mailbox
from ecommerce.sandbox.provider import Provider
from ecommerce.sandbox.switches import Switches
from ecommerce.sandbox.tables import metadata

pytestmark = pytest.mark.anyio
CARD = Means("credit_card", "4111111111111111", "12", "2030", "123")


@pytest.fixture
def switches():
    return Switches()


@pytest.fixture
async def sandbox(open_database, switches):
    database = await open_database(metadata)
    return Provider(database, switches, transfer_seconds=0.0), Mailbox(database)


@pytest.fixture
async def client(sandbox, switches):
    transport = httpx2.ASGITransport(create_app(*sandbox, switches))
    async with httpx2.AsyncClient(transport=transport, base_url="http://provider") as client:
        yield ProviderClient(client)


async def authorized(client, means=CARD):
    token = await client.tokenize(means, "means-1")
    return await client.authorize(token.token, "59.98", "USD", "payment-1", "key-authorize")


async def test_takes_money_and_gives_it_back(client, sandbox):
    authorization, status = await authorized(client)
    assert status == "authorized"
    await client.capture(authorization, "key-capture")
    assert await client.status(authorization) == "captured"
    await client.refund(authorization, "key-refund")
    assert await client.status(authorization) == "refunded"
    entries = await sandbox[0].entries()
    assert [(e["kind"], e["amount"]) for e in entries] == [
        ("capture", "59.98"),
        ("refund", "59.98"),
    ]


async def test_keeps_a_token_and_four_digits(client):
    token = await client.tokenize(CARD, "means-1")
    assert token.last4 == "1111"
    assert "4111111111111111" not in token.token


async def test_lets_go_of_what_is_held(client):
    authorization, _ = await authorized(client)
    await client.void(authorization, "key-void")
    assert await client.status(authorization) == "voided"


async def test_a_transfer_is_pending_until_it_arrives(client, sandbox):
    authorization, status = await authorized(client, Means("bank_transfer", "DE02"))
    assert status == "pending"
    await sandbox[0].settle_transfers()
    assert await client.status(authorization) == "captured"


@pytest.mark.parametrize("number", ["4000000000000002"])
async def test_a_decline_says_so(client, number):
    with pytest.raises(DeclinedError, match="card_declined"):
        await authorized(client, Means("credit_card", number, "12", "2030", "123"))


async def test_insufficient_funds_show_at_the_capture(client):
    means = Means("credit_card", "4000000000009995", "12", "2030", "123")
    authorization, _ = await authorized(client, means)
    with pytest.raises(DeclinedError, match="insufficient_funds"):
        await client.capture(authorization, "key-capture")


async def test_a_provider_that_is_down_is_away(client, switches):
    switches.down = True
    with pytest.raises(UnavailableError):
        await client.tokenize(CARD, "means-1")
    switches.down = False
    await client.tokenize(CARD, "means-1")
