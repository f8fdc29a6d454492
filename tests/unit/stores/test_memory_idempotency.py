import pytest

from prodkit.errors import UnavailableError
from prodkit.policies.claim import Terms
from prodkit.stores.memory import MemoryIdempotencyStore
from prodkit.testing import ManualClock
from prodkit.testing.conformance import check_idempotency_store

pytestmark = pytest.mark.anyio
TERMS = Terms(lease=10, retention=100)


async def test_it_conforms():
    clock = ManualClock()
    await check_idempotency_store(MemoryIdempotencyStore(), now=clock.wall, advance=clock.advance)


class Fenceless(MemoryIdempotencyStore):
    def _held(self, key, fence):
        return self._entries.get(key)


class Careless(MemoryIdempotencyStore):
    async def claim(self, key, fingerprint, fence, *, now, terms):
        await super().claim(key, fingerprint, fence, now=now, terms=terms)


@pytest.mark.parametrize("broken", [Fenceless, Careless])
async def test_the_conformance_suite_finds_a_broken_store(broken):
    clock = ManualClock()
    with pytest.raises(AssertionError, match="breaks a promise"):
        await check_idempotency_store(broken(), now=clock.wall, advance=clock.advance)


async def test_keys_are_forgotten_after_their_retention_as_others_come():
    store = MemoryIdempotencyStore()
    for second in range(5000):
        await store.claim(f"key {second}", b"", "me", now=second, terms=TERMS)
    assert store.size <= 201


async def test_one_key_tried_again_and_again_takes_one_place():
    store = MemoryIdempotencyStore()
    await store.claim("another", b"", "me", now=0, terms=TERMS)
    for attempt in range(1000):
        assert await store.claim("key", b"", str(attempt), now=0, terms=TERMS) is None
        await store.release("key", str(attempt))
    assert store.size <= 2


async def test_a_full_store_refuses_new_keys_and_drops_no_answer():
    store = MemoryIdempotencyStore(max_keys=3)
    for key in "abc":
        await store.claim(key, b"", "me", now=0, terms=TERMS)
        await store.complete(key, "me", key.encode(), now=0, terms=TERMS)
    with pytest.raises(UnavailableError, match="holds its 3 keys"):
        await store.claim("d", b"", "me", now=99, terms=TERMS)
    for key in "abc":
        record = await store.claim(key, b"", "me", now=99, terms=TERMS)
        assert record.result == key.encode()
    assert await store.claim("d", b"", "me", now=100, terms=TERMS) is None
