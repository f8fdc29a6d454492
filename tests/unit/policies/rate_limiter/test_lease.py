import asyncio

import pytest

from prodkit.errors import ConfigurationError, UnavailableError
from prodkit.policies.rate_limiter import (
    LeasedRateLimitStore,
    MemoryRateLimitStore,
    Rate,
    SlidingLog,
)
from prodkit.policies.rate_limiter.limit import SECOND

pytestmark = pytest.mark.anyio
RATE = (Rate(100, per=60),)


class Shared(MemoryRateLimitStore):
    """A shared store that counts what it is asked, and takes a turn of the loop to answer."""

    def __init__(self):
        super().__init__()
        self.costs = []
        self.error = None

    async def take(self, key, limits, cost, now, patience=0):
        self.costs.append(cost)
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return await super().take(key, limits, cost, now, patience)


@pytest.fixture
def shared():
    return Shared()


async def admitted(store, limits=RATE, key="key", calls=1, cost=1, now=0):
    answers = [await store.take(key, limits, cost, now, 0) for _ in range(calls)]
    return sum(answer[1] == 0 for answer in answers)


@pytest.mark.parametrize("limits", [RATE, (SlidingLog(100, per=60), Rate(500, per=60))])
async def test_one_question_in_ten_calls_and_never_a_call_too_many(shared, limits):
    stores = [LeasedRateLimitStore(shared) for _ in range(3)]
    counts = [await admitted(store, limits, calls=30) for store in stores]
    assert (counts, shared.costs) == ([30, 30, 30], [10] * 9)
    counts = [await admitted(store, limits, calls=30) for store in stores]
    assert counts == [10, 0, 0]
    # A batch refused, then the call alone; after that both know how long.
    assert shared.costs == [10] * 11 + [1] + [10, 1] * 2


async def test_near_the_limit_it_asks_call_by_call(shared):
    store = LeasedRateLimitStore(shared)
    await shared.take("key", RATE, 97, 0)
    assert await admitted(store, calls=20) == 3
    assert shared.costs == [97, 10, 1, 1, 1, 1]


async def test_a_refusal_lasts_until_the_time_that_the_store_named(shared):
    store = LeasedRateLimitStore(shared)
    await shared.take("key", RATE, 100, 0)
    first = await store.take("key", RATE, 2, 0, 0)
    asked = len(shared.costs)
    later = await store.take("key", RATE, 2, SECOND, 0)
    assert len(shared.costs) == asked
    assert (later[0], later[1], later[2]) == (first[0], first[1] - SECOND, first[2] - SECOND)
    assert await admitted(store, cost=1, now=SECOND * 6 // 10) == 1  # it is for the dearer call
    assert await admitted(store, cost=2, now=SECOND * 18 // 10) == 1


async def test_what_is_left_of_a_refusal_is_told_for_each_limit(shared):
    limits, begun = (Rate(100, per=60), Rate(1000, per=1)), 1000 * SECOND
    store = LeasedRateLimitStore(shared)
    await shared.take("key", limits, 100, begun)
    first = await store.take("key", limits, 1, begun, 0)
    later = await store.take("key", limits, 1, begun + SECOND // 2, 0)
    assert len(shared.costs) == 3
    assert first == (begun + first[1], SECOND * 6 // 10, SECOND * 606 // 10, SECOND // 10)
    assert later == (first[0], first[1] - SECOND // 2, first[2] - SECOND // 2, 0)


async def test_who_comes_behind_one_who_waits_is_told_how_long(shared):
    store = LeasedRateLimitStore(shared)
    await shared.take("key", RATE, 100, 0)
    waiting = await store.take("key", RATE, 1, 0, SECOND)
    behind = await store.take("key", RATE, 1, 0, 0)
    assert (waiting[1], behind[1]) == (SECOND * 6 // 10, SECOND * 12 // 10)


@pytest.mark.parametrize(
    ("limit", "costs"), [(5, [1] * 6), (19, [1] * 20), (20, [2] * 11 + [1]), (39, [3] * 14 + [1])]
)
async def test_a_batch_is_a_tenth_of_what_may_come_at_once(shared, limit, costs):
    store = LeasedRateLimitStore(shared)
    await admitted(store, (Rate(limit, per=60),), calls=limit + 1)
    assert shared.costs == costs


async def test_a_cost_that_is_more_than_at_hand_uses_what_is_at_hand(shared):
    store = LeasedRateLimitStore(shared)
    assert await admitted(store, calls=1, cost=8) == 1
    assert await admitted(store, calls=1, cost=5) == 1
    assert await admitted(store, calls=1, cost=30) == 1
    assert shared.costs == [10, 10, 23]
    assert await admitted(store, calls=100) == 57


async def test_permits_are_gone_after_their_time(shared):
    store = LeasedRateLimitStore(shared, hold=2.0)
    await admitted(store)
    await admitted(store, now=2 * SECOND - 1)
    assert shared.costs == [10]
    await admitted(store, now=2 * SECOND)
    assert shared.costs == [10, 10]


async def test_their_time_is_a_second_unless_said_otherwise(shared):
    store = LeasedRateLimitStore(shared)
    await admitted(store)
    await admitted(store, now=SECOND - 1)
    assert shared.costs == [10]
    await admitted(store, now=SECOND)
    assert shared.costs == [10, 10]


async def test_permits_that_are_gone_are_not_counted_with_the_next_batch(shared):
    store = LeasedRateLimitStore(shared, hold=2.0)
    await admitted(store)
    await admitted(store, calls=10, now=2 * SECOND)
    assert shared.costs == [10, 10]
    await admitted(store, now=2 * SECOND)
    assert shared.costs == [10, 10, 10]


async def test_what_was_at_hand_when_a_batch_was_refused_still_is(shared):
    store = LeasedRateLimitStore(shared)
    await admitted(store, calls=7)
    await shared.take("key", RATE, 90, 0)
    assert await admitted(store, cost=5) == 0
    assert await admitted(store, calls=5) == 3


async def test_batches_are_asked_for_again_as_soon_as_there_may_be_one(shared):
    store, begun = LeasedRateLimitStore(shared), 1000 * SECOND
    await shared.take("key", RATE, 100, begun)
    await admitted(store, now=begun)
    assert shared.costs == [100, 10, 1]
    assert await admitted(store, now=begun + 6 * SECOND - 1) == 1
    assert await admitted(store, calls=2, now=begun + 7 * SECOND) == 2
    assert shared.costs == [100, 10, 1, 1, 10]


async def test_one_call_asks_for_all_that_come_together(shared):
    store = LeasedRateLimitStore(shared)
    answers = await asyncio.gather(*(store.take("key", RATE, 1, 0, 0) for _ in range(25)))
    assert [answer[1] for answer in answers] == [0] * 25
    assert shared.costs == [10, 10, 10]
    answers = await asyncio.gather(*(store.take("key", RATE, 1, 0, 0) for _ in range(200)))
    assert sum(answer[1] == 0 for answer in answers) == 75


async def test_of_those_who_asked_when_a_batch_was_refused_each_asks_for_itself(shared):
    store = LeasedRateLimitStore(shared)
    await shared.take("key", RATE, 96, 0)
    answers = await asyncio.gather(*(store.take("key", RATE, 1, 0, 0) for _ in range(20)))
    assert sum(answer[1] == 0 for answer in answers) == 4
    assert shared.costs[:2] == [96, 10]
    assert 10 not in shared.costs[2:]


@pytest.mark.parametrize("failure", [asyncio.CancelledError(), UnavailableError("away")])
async def test_what_was_at_hand_is_there_again_when_the_store_fails(shared, failure):
    store = LeasedRateLimitStore(shared)
    await admitted(store, calls=8)
    shared.error = failure
    with pytest.raises(type(failure)):
        await store.take("key", RATE, 5, 0, 0)
    assert await admitted(store, calls=2) == 2
    assert len(shared.costs) == 2


async def test_it_waits_at_the_store_itself_and_gives_back_there(shared):
    store = LeasedRateLimitStore(shared)
    await shared.take("key", RATE, 100, 0)
    turn = await store.take("key", RATE, 1, 0, SECOND)
    assert turn[1] == SECOND * 6 // 10
    await store.give_back("key", RATE, 1, turn)
    assert (await shared.take("key", RATE, 1, 0))[1] == turn[1]


async def test_changed_limits_begin_a_lease_of_their_own(shared):
    store = LeasedRateLimitStore(shared)
    await admitted(store)
    await admitted(store, (Rate(100, per=60),))  # equal, though another object
    assert shared.costs == [10]
    await admitted(store, (Rate(50, per=60),))
    assert shared.costs == [10, 5]


async def test_keys_whose_permits_are_gone_are_forgotten_and_max_keys_holds(shared):
    store = LeasedRateLimitStore(shared, max_keys=5)
    for user in range(20):
        await admitted(store, key=str(user))
        assert len(store._leases) <= 5
    asked = len(shared.costs)
    await admitted(store, key="19")
    assert len(shared.costs) == asked
    for user in range(20, 23):
        await admitted(store, key=str(user), now=9 * SECOND)
    assert len(store._leases) == 3


async def test_a_clock_may_begin_below_zero(shared):
    store = LeasedRateLimitStore(shared)
    assert await admitted(store, calls=200, now=-5 * SECOND) == 100


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"share": 0}, "share"),
        ({"share": 1.1}, "share"),
        ({"share": float("nan")}, "share"),
        ({"share": True}, "share"),
        ({"share": "1"}, "share"),
        ({"hold": 0}, "hold"),
        ({"max_keys": 0}, "max_keys"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(shared, options, named):
    with pytest.raises(ConfigurationError, match=named):
        LeasedRateLimitStore(shared, **options)
