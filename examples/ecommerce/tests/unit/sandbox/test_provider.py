import asyncio
from collections import Counter

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from ecommerce.sandbox.tables import ledger, tokens, webhooks

pytestmark = pytest.mark.anyio
GOOD, DECLINED, POOR = "4111111111111111", "4000000000000002", "4000000000009995"


async def authorize(sandbox, number=GOOD, *, method="credit_card", key="authorize-1"):
    _, body = await sandbox.provider.tokenize(method, number)
    content = {"token": body["token"]}

    async def work(tx):
        return await sandbox.provider.authorize(tx, body["token"], "59.98", "USD", "payment-1")

    return await sandbox.provider.once(key, content, work)


async def act(sandbox, name, authorization, key=None):
    function = getattr(sandbox.provider, name)
    return await sandbox.provider.once(
        key or f"{name}-1", {"act": name}, lambda tx: function(tx, authorization)
    )


async def kinds(sandbox):
    return [entry["kind"] for entry in await sandbox.provider.entries()]


async def reports(sandbox):
    async with sandbox.database.read() as tx:
        return Counter((await tx.execute(select(webhooks.c.body))).scalars())


async def test_a_key_is_worked_for_once_and_answered_alike(sandbox):
    _, authorized = await authorize(sandbox)
    answers = await asyncio.gather(*(act(sandbox, "capture", authorized["id"]) for _ in range(10)))
    assert answers == [(200, {"id": authorized["id"], "status": "captured"})] * 10
    assert await kinds(sandbox) == ["capture"]
    assert len(await reports(sandbox)) == 2


async def test_a_refusal_is_answered_alike_too(sandbox):
    _, authorized = await authorize(sandbox)
    first = await act(sandbox, "refund", authorized["id"])
    await act(sandbox, "capture", authorized["id"])
    assert first == (409, {"error": "authorization_authorized"})
    assert await act(sandbox, "refund", authorized["id"]) == first
    assert (await act(sandbox, "refund", authorized["id"], key="another"))[0] == 200


async def test_a_key_is_good_for_one_content(sandbox):
    _, authorized = await authorize(sandbox)
    await act(sandbox, "capture", authorized["id"], key="same")
    refused = await act(sandbox, "refund", authorized["id"], key="same")
    assert refused == (409, {"error": "idempotency_key_reused"})
    assert await kinds(sandbox) == ["capture"]


async def test_under_different_keys_money_still_moves_once(sandbox):
    _, authorized = await authorize(sandbox)
    for name in ("capture", "refund"):
        answers = await asyncio.gather(
            *(act(sandbox, name, authorized["id"], key=f"{name}-{n}") for n in range(5))
        )
        assert sorted(status for status, _ in answers) == [200, 409, 409, 409, 409]
    assert await kinds(sandbox) == ["capture", "refund"]


async def test_the_ledger_itself_admits_no_second_capture(sandbox):
    row = {"kind": "capture", "authorization": "auth_1", "reference": "p", "currency": "USD"}
    for fails in (False, True):
        try:
            async with sandbox.database.transaction() as tx:
                await tx.execute(insert(ledger).values(**row, amount="1"))
        except IntegrityError:
            assert fails
        else:
            assert not fails


@pytest.mark.parametrize(
    ("steps", "last"),
    [
        (["void"], 200),
        (["void", "void"], 409),
        (["void", "capture"], 409),
        (["capture", "void"], 409),
        (["refund"], 409),
        (["capture", "refund", "capture"], 409),
    ],
)
async def test_an_authorization_goes_one_way(sandbox, steps, last):
    _, authorized = await authorize(sandbox)
    for number, name in enumerate(steps):
        status, _ = await act(sandbox, name, authorized["id"], key=f"key-{number}")
    assert status == last


async def test_cards_that_decline_and_cards_without_funds(sandbox):
    assert await authorize(sandbox, DECLINED) == (402, {"error": "card_declined"})
    status, authorized = await authorize(sandbox, POOR, key="authorize-2")
    assert status == 201
    refused = await act(sandbox, "capture", authorized["id"])
    assert refused == (402, {"error": "insufficient_funds"})
    assert await kinds(sandbox) == []


async def test_everything_declines_where_it_is_switched_so(sandbox):
    sandbox.switches.decline = True
    assert (await authorize(sandbox))[0] == 402
    sandbox.switches.decline = False
    assert (await authorize(sandbox, key="authorize-2"))[0] == 201


async def test_a_transfer_arrives_by_itself_once(sandbox):
    _, authorized = await authorize(sandbox, "DE02", method="bank_transfer")
    assert authorized["status"] == "pending"
    assert (await act(sandbox, "capture", authorized["id"]))[0] == 409
    await sandbox.provider.settle_transfers()
    await sandbox.provider.settle_transfers()
    assert (await sandbox.provider.get(authorized["id"]))[1]["status"] == "captured"
    assert await kinds(sandbox) == ["capture"]


async def test_a_transfer_that_was_let_go_does_not_arrive(sandbox):
    _, authorized = await authorize(sandbox, "DE02", method="bank_transfer")
    await act(sandbox, "void", authorized["id"])
    await sandbox.provider.settle_transfers()
    assert await kinds(sandbox) == []


async def test_the_number_of_a_card_is_not_kept(sandbox):
    await authorize(sandbox)
    async with sandbox.database.read() as tx:
        rows = (await tx.execute(select(tokens))).all()
    assert GOOD not in str(rows)


async def test_what_is_unknown_is_not_found(sandbox):
    for name in ("capture", "void", "refund"):
        assert (await act(sandbox, name, "auth_none"))[0] == 404
    assert (await sandbox.provider.get("auth_none"))[0] == 404
