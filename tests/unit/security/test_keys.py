import asyncio
import json
import stat

import pytest

from prodkit.errors import UnavailableError
from prodkit.security.keys import KeySet, RemoteKeys
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio


class Issuer:
    """Somebody else's JWKS endpoint."""

    def __init__(self, keys):
        self.keys = keys
        self.fetches = 0
        self.error = None
        self.gate = None

    async def __call__(self):
        self.fetches += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.keys.jwks()


def kids(keys):
    return [key["kid"] for key in keys.jwks()["keys"]]


def test_the_public_set_has_thumbprints_and_no_private_part():
    keys = KeySet.generate()
    for jwk in keys.jwks()["keys"]:
        assert set(jwk) == {"kty", "crv", "x", "kid", "use", "alg"}
        assert (jwk["crv"], jwk["alg"], jwk["use"]) == ("Ed25519", "Ed25519", "sig")
        assert keys.known(jwk["kid"]).thumbprint() == jwk["kid"]


def test_rotation_overlaps_on_both_sides():
    keys = KeySet.generate()
    first, second = kids(keys)
    keys.rotate()
    assert keys.signing_key.kid == second
    assert kids(keys)[2:] == [first]
    keys.rotate()
    assert kids(keys)[2:] == [second]
    assert keys.known(first) is None


def test_a_withdrawn_key_is_gone_at_once():
    keys = KeySet.generate()
    stolen = keys.signing_key.kid
    keys.rotate(keep=0)
    assert keys.known(stolen) is None


def test_the_file_is_private_and_shared(tmp_path):
    path = tmp_path / "keys" / "users.json"
    one, other = KeySet.open(path), KeySet.open(path)
    assert kids(one) == kids(other)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    one.rotate()
    assert kids(other) != kids(one)
    other.reload()
    assert kids(other) == kids(one) == kids(KeySet.open(path))
    assert [p.name for p in path.parent.iterdir()] == ["users.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}, {"kty": "oct", "k": "c2VjcmV0"}]}',
        json.dumps({"keys": KeySet.generate().jwks()["keys"]}),
    ],
)
def test_a_file_of_something_else_is_refused_by_name(tmp_path, content):
    path = tmp_path / "users.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"users\.json"):
        KeySet.open(path)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def issuer():
    return Issuer(KeySet.generate())


@pytest.fixture
def remote(issuer, clock):
    return RemoteKeys(issuer, clock=clock)


async def test_remote_keys_are_fetched_once(remote, issuer):
    for kid in kids(issuer.keys):
        assert (await remote.find(kid)).kid == kid
    assert issuer.fetches == 1


async def test_unknown_kids_make_one_fetch_in_thirty_seconds(remote, issuer, clock):
    await remote.load()
    await clock.advance(30)
    for number in range(100):
        assert await remote.find(f"made-up-{number}") is None
        await clock.advance(0.2)
    assert issuer.fetches == 2
    await clock.advance(10)
    assert await remote.find("made-up") is None
    assert issuer.fetches == 3


async def test_a_crowd_shares_one_fetch_and_one_who_leaves_does_not_end_it(remote, issuer, clock):
    issuer.gate = asyncio.Event()
    crowd = [asyncio.create_task(remote.find(kids(issuer.keys)[0])) for _ in range(20)]
    await clock.settle()
    crowd.pop(0).cancel()
    issuer.gate.set()
    assert all(await asyncio.gather(*crowd))
    assert issuer.fetches == 1


async def test_a_new_key_is_found_and_a_withdrawn_one_ends(remote, issuer, clock):
    await remote.load()
    old = issuer.keys.signing_key.kid
    issuer.keys.rotate(keep=0)
    assert remote.known(old) is not None
    await clock.advance(301)
    assert remote.known(old) is not None  # the fetch begins now, in the background
    await clock.settle()
    assert remote.known(old) is None
    assert remote.known(issuer.keys.signing_key.kid) is not None


async def test_keys_at_hand_survive_a_failing_issuer(remote, issuer, clock):
    await remote.load()
    kid = issuer.keys.signing_key.kid
    issuer.error = ConnectionError("away")
    await clock.advance(301)
    assert await remote.find(kid) is not None
    await clock.settle()
    assert await remote.find(kid) is not None
    assert issuer.fetches == 2


async def test_with_no_keys_at_hand_nobody_can_tell(remote, issuer):
    issuer.error = ConnectionError("away")
    with pytest.raises(UnavailableError) as caught:
        await remote.find("x")
    assert caught.value.reason == "KEYS_UNAVAILABLE"
    with pytest.raises(UnavailableError):
        await remote.load()


async def test_keys_of_other_kinds_and_private_parts_are_left_out(clock):
    keys = KeySet.generate()
    good = keys.jwks()["keys"][0]

    async def fetch():
        other = [{"kty": "oct", "k": "AAAA", "kid": "hs"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}]
        lying = {**keys.jwks()["keys"][1], "kid": "another-name"}
        return {"keys": [*other, good, lying]}

    remote = RemoteKeys(fetch, clock=clock)
    assert await remote.find("hs") is None
    assert await remote.find("another-name") is None
    assert (await remote.find(good["kid"])).is_private is False
