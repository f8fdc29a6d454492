import pytest

from prodkit.policies.gcra import SECOND, Rate
from prodkit.stores.memory import MemoryRateLimitStore
from prodkit.testing import ManualClock
from prodkit.testing.conformance import check_rate_limit_store

pytestmark = pytest.mark.anyio


async def test_it_conforms():
    clock = ManualClock()
    await check_rate_limit_store(MemoryRateLimitStore(), now=clock.monotonic, advance=clock.advance)


class Forgetful(MemoryRateLimitStore):
    async def take(self, key, rate, now):
        self._arrivals.clear()
        self._ring.clear()
        return await super().take(key, rate, now)


class Generous(MemoryRateLimitStore):
    async def take(self, key, rate, now):
        return await super().take(key, Rate(rate.limit, rate.per, burst=rate.burst * 2), now) // 2


@pytest.mark.parametrize("broken", [Forgetful, Generous])
async def test_the_conformance_suite_finds_a_broken_store(broken):
    clock = ManualClock()
    with pytest.raises(AssertionError, match="breaks a promise"):
        await check_rate_limit_store(broken(), now=clock.monotonic, advance=clock.advance)


def test_it_answers_without_suspending():
    coroutine = MemoryRateLimitStore().take("key", Rate(1), 0)
    with pytest.raises(StopIteration) as finished:
        coroutine.send(None)
    assert finished.value.value == SECOND


async def test_keys_that_are_whole_again_are_forgotten_as_others_come():
    store, rate = MemoryRateLimitStore(), Rate(1)
    for second in range(10_000):
        for user in range(3):
            await store.take(f"{second}-{user}", rate, second * SECOND)
    assert store.size <= 12


async def test_after_a_flood_the_keys_go_as_calls_of_one_key_come():
    store, rate = MemoryRateLimitStore(), Rate(10)
    for user in range(1000):
        await store.take(str(user), rate, 0)
    assert store.size == 1000
    for step in range(1000):
        await store.take("0", rate, (1 + step) * SECOND)
    assert store.size == 1


async def test_keys_that_are_held_back_do_not_shelter_those_that_are_whole_again():
    store, day = MemoryRateLimitStore(), Rate(1, per=86_400)
    for user in range(1000):
        await store.take(f"held {user}", day, 0)
    for second in range(20_000):
        await store.take(f"brief {second}", Rate(1), second * SECOND)
    assert 1000 <= store.size <= 2100


@pytest.mark.parametrize("max_keys", [10, 50, 97, 100, 101])
async def test_max_keys_holds_and_who_is_held_back_is_not_forgotten(max_keys):
    store, rate = MemoryRateLimitStore(max_keys=max_keys), Rate(10, per=3600)
    for _ in range(10):
        await store.take("greedy", rate, 0)
    for user in range(5_000):
        await store.take(str(user), rate, 0)
        assert store.size <= max_keys
    assert await store.take("greedy", rate, 0) > rate.tolerance
