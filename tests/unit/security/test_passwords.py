import asyncio
import threading

import pytest

from prodkit.errors import InvalidArgumentError, UnavailableError
from prodkit.security.passwords import PasswordHasher

pytestmark = pytest.mark.anyio

CHEAP = {"memory_cost": 8, "time_cost": 1}


@pytest.fixture
async def hasher():
    hasher = PasswordHasher(**CHEAP)
    await hasher.start()
    yield hasher
    await hasher.stop(0)


async def test_the_defaults_are_the_owasp_minimum():
    hasher = PasswordHasher()
    stored = await hasher.hash("correct horse")
    await hasher.stop(0)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_hash_and_verify(hasher):
    stored = await hasher.hash("correct horse")
    assert stored != await hasher.hash("correct horse")
    assert await hasher.verify(stored, "correct horse")
    assert not await hasher.verify(stored, "battery staple")
    assert not await hasher.verify(stored, "")


async def test_an_unknown_user_costs_one_verification_and_is_refused(hasher, monkeypatch):
    verified = []
    matches = hasher._matches
    monkeypatch.setattr(hasher, "_matches", lambda *a: verified.append(a[0]) or matches(*a))
    stored = await hasher.hash("known")
    assert not await hasher.verify(None, "anything")
    assert not await hasher.verify(stored, "wrong")
    nobody, known = verified
    assert nobody.rsplit("$", 2)[0] == known.rsplit("$", 2)[0]  # the same parameters


async def test_without_a_start_there_is_nobody_to_compare_with():
    hasher = PasswordHasher(**CHEAP)
    with pytest.raises(RuntimeError, match="not started"):
        await hasher.verify(None, "anything")


async def test_keyboards_differ_and_passwords_do_not(hasher):
    stored = await hasher.hash("Zu\u0308rich")
    assert await hasher.verify(stored, "Z\u00fcrich")


async def test_other_parameters_ask_for_a_new_hash(hasher):
    stronger = PasswordHasher(memory_cost=16, time_cost=1)
    stored = await hasher.hash("x")
    assert stronger.needs_rehash(stored)
    assert not hasher.needs_rehash(stored)
    assert await stronger.verify(stored, "x")
    await stronger.stop(0)


async def test_long_passwords_are_refused_unhashed(hasher):
    with pytest.raises(InvalidArgumentError, match="1024"):
        await hasher.hash("x" * 1025)


async def test_something_else_in_the_column_is_an_error_and_no_mismatch(hasher):
    with pytest.raises(ValueError, match="no argon2 hash"):
        await hasher.verify("plain text", "plain text")


async def test_a_flood_is_refused_and_the_places_come_back():
    hasher = PasswordHasher(**CHEAP, threads=1, max_pending=2)
    gate = threading.Event()
    places = [asyncio.create_task(hasher._in_thread(gate.wait)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError) as caught:
        await hasher.hash("one too many")
    assert (caught.value.reason, caught.value.retry_after) == ("PASSWORDS_BUSY", 1.0)
    places[2].cancel()
    gate.set()
    await asyncio.gather(*places, return_exceptions=True)
    assert await hasher.hash("welcome again")
    assert hasher._pending == 0
    await hasher.stop(0)
