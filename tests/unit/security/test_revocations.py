import pytest

from prodkit import Principal
from prodkit.security.revocations import RevocationList, Revoked
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio


class Store:
    def __init__(self):
        self.revoked = Revoked()

    async def __call__(self):
        if isinstance(self.revoked, Exception):
            raise self.revoked
        return self.revoked


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def revocations(store, clock):
    return RevocationList(store, lifetime=300, clock=clock)


def person(session="s1", version=1):
    return Principal("alice", session=session, claims={"rv": version})


async def test_it_is_loaded_at_start(store, revocations):
    store.revoked = Revoked(sessions=["s1"], role_versions={"alice": 2})
    await revocations.start()
    assert revocations.revokes(person())
    assert revocations.revokes(person("s2", version=1))
    assert not revocations.revokes(person("s2", version=2))
    assert not revocations.revokes(Principal("service:orders"))


async def test_a_service_that_cannot_load_does_not_start(store, revocations):
    store.revoked = ConnectionError("away")
    with pytest.raises(ConnectionError):
        await revocations.start()


async def test_a_failed_refresh_keeps_what_is_known(store, revocations):
    store.revoked = Revoked(sessions=["s1"])
    await revocations.start()
    store.revoked = ConnectionError("away")
    with pytest.raises(ConnectionError):
        await revocations.refresh()
    assert revocations.revokes(person("s1"))


async def test_in_this_process_it_acts_at_once(revocations):
    await revocations.start()
    assert not revocations.revokes(person())
    revocations.end_session("s1")
    revocations.change_roles("bob", 2)
    assert revocations.revokes(person("s1"))
    assert revocations.revokes(Principal("bob", claims={"rv": 1}))
    assert revocations.revokes(Principal("bob"))
    assert not revocations.revokes(Principal("bob", claims={"rv": 2}))


async def test_it_is_bounded_by_the_life_of_tokens(store, revocations, clock):
    for number in range(1000):
        revocations.end_session(f"s{number}")
        revocations.change_roles(f"u{number}", 2)
    await clock.advance(300)
    await revocations.refresh()
    assert not revocations.revokes(person("s7"))
    assert not revocations.revokes(Principal("u7", claims={"rv": 1}))


async def test_what_the_store_forgets_is_forgotten(store, revocations):
    store.revoked = Revoked(sessions=["s1"])
    await revocations.start()
    store.revoked = Revoked()
    await revocations.refresh()
    assert not revocations.revokes(person("s1"))
