import pytest

from prodkit.errors import ConfigurationError
from prodkit.policies.rate_limiter import Rate, SlidingLog
from prodkit.policies.rate_limiter.limit import SECOND
from prodkit.stores.memory import MemoryRateLimitStore

pytestmark = pytest.mark.anyio


def test_it_answers_without_suspending():
    coroutine = MemoryRateLimitStore().take("key", (Rate(1),), 1, 0)
    with pytest.raises(StopIteration) as finished:
        coroutine.send(None)
    assert finished.value.value == (0, 0, SECOND)


async def test_keys_that_are_whole_again_are_forgotten_as_others_come():
    store, rate = MemoryRateLimitStore(), Rate(1)
    for second in range(10_000):
        for user in range(3):
            await store.take(f"{second}-{user}", (rate,), 1, second * SECOND)
    assert store.size <= 12


async def test_after_a_flood_the_keys_go_as_calls_of_one_key_come():
    store, rate = MemoryRateLimitStore(), Rate(10)
    for user in range(1000):
        await store.take(str(user), (rate,), 1, 0)
    assert store.size == 1000
    for step in range(1000):
        await store.take("0", (rate,), 1, (1 + step) * SECOND)
    assert store.size == 1


async def test_keys_that_are_held_back_do_not_shelter_those_that_are_whole_again():
    store, day = MemoryRateLimitStore(), Rate(1, per=86_400)
    for user in range(1000):
        await store.take(f"held {user}", (day,), 1, 0)
    for second in range(20_000):
        await store.take(f"brief {second}", (Rate(1),), 1, second * SECOND)
    assert 1000 <= store.size <= 2100


@pytest.mark.parametrize("max_keys", [10, 50, 97, 100, 101])
async def test_max_keys_holds_and_who_is_held_back_is_not_forgotten(max_keys):
    store, rate = MemoryRateLimitStore(max_keys=max_keys), Rate(10, per=3600)
    for _ in range(10):
        await store.take("greedy", (rate,), 1, 0)
    for user in range(5_000):
        await store.take(str(user), (rate,), 1, 0)
        assert store.size <= max_keys
    assert (await store.take("greedy", (rate,), 1, 0))[1] > 0


async def test_a_key_with_a_log_is_forgotten_when_its_window_is_over():
    store, log = MemoryRateLimitStore(), SlidingLog(10, per=1.0)
    for second in range(5_000):
        await store.take(str(second), (log, Rate(1, per=0.5)), 1, second * SECOND)
    assert store.size <= 4


async def test_a_key_that_spent_most_of_its_log_is_not_the_one_to_go():
    store, limits = MemoryRateLimitStore(max_keys=20), (SlidingLog(10, per=3600),)
    for second in range(10):
        await store.take("greedy", limits, 1, second)
    for user in range(1_000):
        await store.take(str(user), (Rate(1, per=60),), 1, 10)
    assert (await store.take("greedy", limits, 1, 10))[1] > 0


@pytest.mark.parametrize(
    "limits", [(Rate(2, per=4),), (Rate(2, per=4), SlidingLog(9)), (SlidingLog(2, per=4), Rate(9))]
)
async def test_a_turn_given_back_is_as_if_it_had_not_been_taken(limits):
    store = MemoryRateLimitStore()
    await store.take("key", limits, 2, 0)
    before = await store.take("key", limits, 1, 1)
    turn = await store.take("key", limits, 1, 1, 9 * SECOND)
    await store.give_back("key", limits, 1, turn)
    assert await store.take("key", limits, 1, 1) == before
    behind = [await store.take("key", limits, 1, 1, 9 * SECOND) for _ in range(3)]
    after = await store.take("key", limits, 1, 1)
    await store.give_back("key", limits, 1, behind[0])
    assert await store.take("key", limits, 1, 1) == after


async def test_what_nobody_knows_any_more_is_given_back_in_vain():
    store, one, two = MemoryRateLimitStore(), (Rate(1),), (Rate(1), Rate(2))
    turn = await store.take("key", two, 1, 0)
    await store.give_back("other", two, 1, turn)
    await store.take("key", one, 1, 2 * SECOND)
    await store.give_back("key", one, 1, turn)
    turn = await store.take("both", two, 1, 0)
    await store.give_back("both", one, 1, turn)
    assert (await store.take("both", two, 1, 0))[1] == SECOND
    await store.give_back("lone", one, 1, await store.take("lone", one, 1, 0))
    await store.give_back("lone", one, 1, turn)
    assert (await store.take("key", one, 1, 2 * SECOND))[1] == SECOND


@pytest.mark.parametrize("max_keys", [0, -1, True, 1.5, float("nan")])
def test_max_keys_is_a_whole_number(max_keys):
    with pytest.raises(ConfigurationError, match="max_keys"):
        MemoryRateLimitStore(max_keys=max_keys)
