import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from prodkit.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from shop_doubles import calling, counted
from sqlalchemy import select

from ecommerce.contract.users.v1 import users_pb2 as pb
from ecommerce.users.tables import accounts

pytestmark = pytest.mark.anyio


async def get(shop, user_id):
    return await shop.users.GetUser(pb.GetUserRequest(id=user_id), None)


async def update(shop, user_id, *paths, **values):
    request = pb.UpdateMeRequest(user=pb.User(**values), update_mask=FieldMask(paths=paths))
    with calling(user_id):
        return await shop.users.UpdateMe(request, None)


async def test_registers_a_customer_and_tells(shop, events):
    user = await shop.register("Ann@Example.com ")
    assert user.id.startswith("user-")
    assert (user.name, user.email, user.status) == ("Ann", "ann@example.com", "active")
    assert list(user.roles) == ["customer"]
    [event] = events.of("user.registered")
    assert event.subject == user.id
    assert event.data == {"user_id": user.id, "email": "ann@example.com", "name": "Ann"}
    with calling(user.id):
        assert await shop.users.GetMe(pb.GetMeRequest(), None) == user
    assert shop.registry.get_sample_value("ecommerce_users_total", {"status": "active"}) == 1


@pytest.mark.parametrize("email", ["ann@example.com", "ANN@example.COM", " Ann@Example.com"])
async def test_an_address_is_taken_once_whatever_its_case(shop, events, email):
    await shop.register("Ann@example.com")
    with pytest.raises(AlreadyExistsError) as caught:
        await shop.register(email)
    assert caught.value.reason == "EMAIL_TAKEN"
    assert [v.field for v in caught.value.violations] == ["/email"]
    assert len(events.all) == 1


async def test_of_many_registrations_at_once_one_is_kept(shop, events):
    answers = await asyncio.gather(*(shop.register() for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(answer, AlreadyExistsError) for answer in answers) == 9
    assert len(events.of("user.registered")) == 1


async def test_only_a_hash_of_the_password_is_kept(shop, events):
    await shop.register()
    async with shop.database.read() as tx:
        row = (await tx.execute(select(accounts))).mappings().one()
    assert row["password_hash"].startswith("$argon2id$")
    assert shop.password not in str(dict(row)) + str(events.all)


async def test_an_unknown_user_is_not_found(shop):
    for asked in (
        get(shop, "user-nobody"),
        shop.users.SetRoles(pb.SetRolesRequest(id="user-nobody", roles=["staff"]), None),
        shop.users.DeactivateUser(pb.DeactivateUserRequest(id="user-nobody"), None),
    ):
        with pytest.raises(NotFoundError):
            await asked


async def test_one_changes_ones_own_name_and_phone_by_the_mask(shop):
    user = await shop.register()
    other = await shop.register("bob@example.com", "Bob")
    changed = await update(shop, user.id, "phone", name="Eve", phone="+4915112345678")
    assert (changed.name, changed.phone) == ("Ann", "+4915112345678")
    assert (await update(shop, user.id, "name", name="Anna")).name == "Anna"
    assert (await update(shop, user.id, "phone")).phone == ""
    assert await get(shop, other.id) == other


@pytest.mark.parametrize(
    "path", ["email", "roles", "status", "id", "password_hash", "role_version"]
)
async def test_nothing_else_can_be_changed(shop, path):
    user = await shop.register()
    with pytest.raises(InvalidArgumentError) as caught:
        await update(shop, user.id, "name", path, name="Eve", roles=["admin"], status="active")
    assert path in caught.value.violations[0].description
    assert await get(shop, user.id) == user


@pytest.mark.parametrize(("paths", "field"), [([], "/update_mask"), (["name"], "/user/name")])
async def test_a_change_to_nothing_is_named(shop, paths, field):
    user = await shop.register()
    with pytest.raises(InvalidArgumentError) as caught:
        await update(shop, user.id, *paths)
    assert [v.field for v in caught.value.violations] == [field]


async def test_roles_are_replaced_and_older_tokens_told_of(shop, events):
    user = await shop.register()
    request = pb.SetRolesRequest(id=user.id, roles=["staff", "customer"])
    assert list((await shop.users.SetRoles(request, None)).roles) == ["customer", "staff"]
    assert dict((await shop.revocations()).role_versions) == {user.id: 1}
    assert [event.subject for event in events.of("user.roles_changed")] == [user.id]


async def test_changed_roles_are_in_the_next_token_and_not_in_the_last(shop):
    user = await shop.register()
    before = await shop.login()
    await shop.users.SetRoles(pb.SetRolesRequest(id=user.id, roles=["staff"]), None)
    after = await shop.refresh(before.refresh_token)
    old, new = await shop.verify(before.access_token), await shop.verify(after.access_token)
    assert (old.roles, old.claims["rv"]) == ({"customer"}, 0)
    assert (new.roles, new.claims["rv"]) == ({"staff"}, 1)


async def test_changed_roles_are_told_of_for_as_long_as_a_token_lives(shop, clock):
    user = await shop.register()
    await shop.users.SetRoles(pb.SetRolesRequest(id=user.id, roles=["staff"]), None)
    await clock.advance(330)
    assert user.id in (await shop.revocations()).role_versions
    await clock.advance(1)
    assert user.id not in (await shop.revocations()).role_versions


async def test_accounts_are_listed_oldest_first_page_by_page(shop):
    ids = [(await shop.register(f"user{number}@example.com")).id for number in range(12)]
    found, token = [], ""
    while True:
        request = pb.ListUsersRequest(page_size=5, page_token=token)
        with counted(shop.database) as statements:
            page = await shop.users.ListUsers(request, None)
        assert len([each for each in statements if each.startswith("SELECT")]) == 1
        found += [user.id for user in page.users]
        token = page.next_page_token
        if not token:
            break
    assert found == ids
