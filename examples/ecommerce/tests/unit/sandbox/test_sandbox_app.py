import pytest
from sqlalchemy import select

from ecommerce.sandbox.switches import Switches
from ecommerce.sandbox.tables import webhooks
from ecommerce.sandbox.webhooks import WebhookSender

pytestmark = pytest.mark.anyio
CARD = {"method": "credit_card", "number": "4111111111111111"}


async def token(sandbox):
    return (await sandbox.client.post("/v1/tokens", json=CARD)).json()["token"]


async def authorize(sandbox, key="key-1", **changes):
    body = {"token": await token(sandbox), "amount": "59.98", "currency": "USD", "reference": "p-1"}
    headers = {"idempotency-key": key} if key else {}
    return await sandbox.client.post("/v1/authorizations", json=body | changes, headers=headers)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"method": "credit_card"}',
        b'{"number": "1"}',
        b'{"method": "cheque", "number": "1"}',
        b'{"method": "wallet", "number": 7}',
        b'{"method": "wallet", "number": "%s"}' % (b"1" * 101),
    ],
)
async def test_a_means_that_is_none_is_refused(sandbox, body):
    answer = await sandbox.client.post("/v1/tokens", content=body)
    assert answer.status_code == 422
    assert answer.json()["error"] == "invalid"


async def test_a_refusal_does_not_show_the_card(sandbox):
    wrong = CARD | {"method": "cheque"}
    answer = await sandbox.client.post("/v1/tokens", json=wrong)
    assert CARD["number"] not in answer.text


@pytest.mark.parametrize(
    "amount", ["0", "-1", "NaN", "sNaN", "Infinity", "1e9", "x", "", "1,5", "1e1000000", 5]
)
async def test_an_amount_that_is_none_is_refused(sandbox, amount):
    assert (await authorize(sandbox, amount=amount)).status_code == 422


@pytest.mark.parametrize("change", [{"currency": "usd"}, {"currency": "EURO"}, {"reference": ""}])
async def test_an_authorization_is_checked(sandbox, change):
    assert (await authorize(sandbox, **change)).status_code == 422


async def test_changes_need_a_key(sandbox):
    assert (await authorize(sandbox, key="")).status_code == 400
    authorization = (await authorize(sandbox)).json()["id"]
    for act in ("capture", "void", "refund"):
        answer = await sandbox.client.post(f"/v1/authorizations/{authorization}/{act}")
        assert (answer.status_code, answer.json()["error"]) == (400, "idempotency_key_required")


async def test_a_key_with_another_body_is_refused(sandbox):
    assert (await authorize(sandbox)).status_code == 201
    assert (await authorize(sandbox, amount="1.00")).json() == {"error": "idempotency_key_reused"}


async def test_what_is_unknown_is_not_found(sandbox):
    assert (await sandbox.client.get("/v1/authorizations/auth_none")).status_code == 404
    assert (await authorize(sandbox, token="tok_none")).status_code == 422


async def test_down_is_503_for_the_provider_and_the_gateways(sandbox):
    sandbox.switches.down = True
    for path in ("/v1/tokens", "/v1/sms", "/v1/push"):
        assert (await sandbox.client.post(path, json=CARD)).status_code == 503
    assert (await sandbox.client.get("/health")).status_code == 200


async def test_switches_are_set_one_by_one(sandbox):
    client = sandbox.client
    assert (await client.put("/v1/switches", json={"slow_seconds": 1.5})).status_code == 200
    await client.put("/v1/switches", json={"decline": True})
    expected = Switches(slow_seconds=1.5, decline=True).model_dump()
    assert (await client.get("/v1/switches")).json() == expected


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"no_such": 1}', b'{"slow_seconds": -1}', b'{"lose_replies": "many"}']
)
async def test_switches_that_are_none_change_nothing(sandbox, body):
    answer = await sandbox.client.put("/v1/switches", content=body)
    assert answer.status_code == 422
    assert sandbox.switches == Switches()


async def test_the_form_sets_all_switches(sandbox):
    sandbox.switches.hang = True
    form = {"down": "true", "slow_seconds": "0.5", "lose_replies": ""}
    answer = await sandbox.client.post("/sandbox/switches", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sandbox")
    assert sandbox.switches == Switches(down=True, slow_seconds=0.5)


@pytest.mark.parametrize("form", [{"slow_seconds": "x"}, {"lose_replies": "-1"}, {"down": "maybe"}])
async def test_a_form_that_does_not_serve_is_refused(sandbox, form):
    answer = await sandbox.client.post("/sandbox/switches", data=form)
    assert answer.status_code == 422
    assert sandbox.switches == Switches()


async def test_messages_arrive_in_the_mailbox_and_are_shown_as_text(sandbox):
    for path in ("/v1/sms", "/v1/push"):
        message = {"to": "+49151", "body": "<script>alert(1)</script>", "message_id": "m-1"}
        assert (await sandbox.client.post(path, json=message)).status_code == 202
        assert (await sandbox.client.post(path, json={"to": ""})).status_code == 422
    messages = (await sandbox.client.get("/sandbox/mailbox.json")).json()["messages"]
    assert [message["channel"] for message in messages] == ["push", "sms"]
    page = (await sandbox.client.get("/sandbox/mailbox")).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


async def test_the_pages_render(sandbox):
    authorization = (await authorize(sandbox)).json()["id"]
    path = f"/v1/authorizations/{authorization}/capture"
    await sandbox.client.post(path, headers={"idempotency-key": "key-2"})
    assert "59.98 USD" in (await sandbox.client.get("/sandbox")).text
    entries = (await sandbox.client.get("/v1/ledger")).json()["entries"]
    assert [(e["kind"], e["amount"], e["reference"]) for e in entries] == [
        ("capture", "59.98", "p-1")
    ]


class Receiver:
    """The shop's end of the webhooks."""

    def __init__(self):
        self.taken, self.statuses = [], []

    async def post(self, url, *, content, headers):
        self.taken.append((content, headers["x-provider-signature"]))
        status = self.statuses.pop(0) if self.statuses else 204
        return type("Response", (), {"is_success": status < 400})()


async def test_webhooks_are_sent_until_they_are_taken(sandbox):
    await authorize(sandbox)
    receiver = Receiver()
    receiver.statuses = [503]
    sender = WebhookSender(sandbox.database, receiver, url="http://shop", secret=b"secret")
    await sender.deliver_due()
    await sender.deliver_due()  # not due yet
    assert len(receiver.taken) == 1
    async with sandbox.database.transaction() as tx:
        await tx.execute(webhooks.update().values(due_at=0.0))
    await sender.deliver_due()
    await sender.deliver_due()
    bodies = {body for body, _ in receiver.taken}
    assert (len(receiver.taken), len(bodies)) == (2, 1)
    async with sandbox.database.read() as tx:
        row = (await tx.execute(select(webhooks))).one()
    assert (row.delivered, row.attempts) == (True, 2)
