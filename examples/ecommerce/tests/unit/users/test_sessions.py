import asyncio
import json

import pytest
from prodkit.errors import UnauthenticatedError
from shop_doubles import calling
from sqlalchemy import func, select

from ecommerce.contract.users.v1 import users_pb2 as pb
from ecommerce.users.tables import sessions, spent_tokens

pytestmark = pytest.mark.anyio


async def refused(shop, token):
    with pytest.raises(UnauthenticatedError) as caught:
        await shop.refresh(token)
    assert caught.value.reason == "TOKEN_INVALID"
    return str(caught.value)


async def session_of(shop, pair):
    return (await shop.verify(pair.access_token)).session


async def test_signing_in_gives_a_token_for_oneself(shop):
    user = await shop.register()
    pair = await shop.login("ANN@example.com")
    assert (pair.token_type, pair.expires_in) == ("Bearer", 300)
    principal = await shop.verify(pair.access_token)
    assert (principal.subject, principal.roles) == (user.id, {"customer"})
    assert principal.session


async def test_a_refresh_token_changes_at_each_use_and_the_session_stays(shop):
    await shop.register()
    pairs = [await shop.login()]
    for _ in range(3):
        pairs.append(await shop.refresh(pairs[-1].refresh_token))
    assert len({pair.refresh_token for pair in pairs}) == 4
    assert len({await session_of(shop, pair) for pair in pairs}) == 1


async def test_a_copied_refresh_token_ends_the_session_for_both(shop):
    await shop.register()
    stolen = await shop.login()
    fresh = await shop.refresh(stolen.refresh_token)
    other = await shop.login()
    await refused(shop, stolen.refresh_token)
    await refused(shop, fresh.refresh_token)
    assert list((await shop.revocations()).sessions) == [await session_of(shop, fresh)]
    await shop.refresh(other.refresh_token)  # somebody else's session, or one's own elsewhere


async def test_of_two_uses_at_once_one_is_a_copy(shop):
    await shop.register()
    pair = await shop.login()
    answers = await asyncio.gather(
        shop.refresh(pair.refresh_token), shop.refresh(pair.refresh_token), return_exceptions=True
    )
    assert sorted(isinstance(answer, Exception) for answer in answers) == [False, True]
    assert list((await shop.revocations()).sessions) == [await session_of(shop, pair)]


async def test_a_session_that_nobody_uses_ends(shop, clock):
    await shop.register()
    pair = await shop.login()
    await clock.advance(86_399)
    pair = await shop.refresh(pair.refresh_token)
    await clock.advance(86_400)
    await refused(shop, pair.refresh_token)


async def test_signing_out_ends_the_session_and_no_other(shop):
    user = await shop.register()
    here, elsewhere = await shop.login(), await shop.login()
    with calling(user.id, session=await session_of(shop, here)):
        await shop.auth.Logout(pb.LogoutRequest(), None)
        await shop.auth.Logout(pb.LogoutRequest(), None)
    await refused(shop, here.refresh_token)
    await shop.refresh(elsewhere.refresh_token)
    assert list((await shop.revocations()).sessions) == [await session_of(shop, here)]


async def test_ended_sessions_are_told_of_for_as_long_as_a_token_lives(shop, clock):
    user = await shop.register()
    with calling(user.id, session=await session_of(shop, await shop.login())):
        await shop.auth.Logout(pb.LogoutRequest(), None)
    await clock.advance(330)
    assert len((await shop.revocations()).sessions) == 1
    await clock.advance(1)
    assert len((await shop.revocations()).sessions) == 0


async def test_closing_an_account_ends_every_session(shop, events):
    user = await shop.register()
    pairs = [await shop.login(), await shop.login()]
    with calling(user.id):
        closed = await shop.users.DeactivateMe(pb.DeactivateMeRequest(), None)
    assert closed.status == "inactive"
    for pair in pairs:
        await refused(shop, pair.refresh_token)
    revoked = await shop.revocations()
    assert set(revoked.sessions) == {await session_of(shop, pair) for pair in pairs}
    assert dict(revoked.role_versions) == {user.id: 1}
    with pytest.raises(UnauthenticatedError):
        await shop.login()
    assert [event.subject for event in events.of("user.deactivated")] == [user.id]


async def test_closing_an_account_again_changes_nothing(shop, events):
    user = await shop.register()
    request = pb.DeactivateUserRequest(id=user.id)
    first = await shop.users.DeactivateUser(request, None)
    assert await shop.users.DeactivateUser(request, None) == first
    assert len(events.of("user.deactivated")) == 1
    assert shop.registry.get_sample_value("ecommerce_users_total", {"status": "inactive"}) == 1


async def test_a_session_that_began_while_the_account_closed_goes_nowhere(shop):
    user = await shop.register()
    await shop.users.DeactivateUser(pb.DeactivateUserRequest(id=user.id), None)
    async with shop.units() as work:
        _, token = await shop.sessions.begin(work, user.id)
    await refused(shop, token)


async def test_made_up_tokens_are_all_answered_alike(shop):
    await shop.register()
    spent = (await shop.login()).refresh_token
    await shop.refresh(spent)
    said = {await refused(shop, token) for token in ("", "x", "x" * 512, "ü", spent)}
    assert len(said) == 1


async def test_no_table_holds_a_refresh_token(shop):
    await shop.register()
    first = await shop.login()
    second = await shop.refresh(first.refresh_token)
    async with shop.database.read() as tx:
        rows = [(await tx.execute(select(table))).all() for table in (sessions, spent_tokens)]
    for pair in (first, second):
        assert pair.refresh_token not in str(rows)


async def test_what_can_do_nothing_any_more_is_forgotten(shop, clock):
    await shop.register()
    pair = await shop.login()
    await shop.refresh(pair.refresh_token)
    await clock.advance(86_400)
    await shop.login()

    async def purged():
        async with shop.units() as work:
            await shop.sessions.purge(work)
            counted = [select(func.count()).select_from(t) for t in (sessions, spent_tokens)]
            return [(await work.execute(each)).scalar_one() for each in counted]

    assert await purged() == [2, 1]  # a copy of the spent one is recognized until its session ends
    await clock.advance(86_401)
    assert await purged() == [1, 0]


async def test_keys_are_public_and_change_with_an_overlap(shop):
    await shop.register()
    old = await shop.login()
    rotated = await shop.auth.RotateKeys(pb.RotateKeysRequest(), None)
    new = await shop.login()
    for pair in (old, new):
        await shop.verify(pair.access_token)
    document = json.loads((await shop.auth.GetKeys(pb.GetKeysRequest(), None)).data)
    assert rotated.key_id in {key["kid"] for key in document["keys"]}
    assert all("d" not in key for key in document["keys"])
