"""The conformance suite must find what is wrong with a store, whatever it is."""

import asyncio

import pytest

from prodkit.policies.rate_limiter import LeasedRateLimitStore, Rate, SlidingLog
from prodkit.policies.rate_limiter.limit import SECOND
from prodkit.stores.memory import MemoryRateLimitStore
from prodkit.testing import ManualClock
from prodkit.testing.conformance import check_rate_limit_store

pytestmark = pytest.mark.anyio


async def check(store, clock):
    await check_rate_limit_store(store, now=clock.monotonic, advance=clock.advance)


async def test_the_memory_store_conforms():
    await check(MemoryRateLimitStore(), ManualClock())


async def test_a_lease_of_one_permit_at_a_time_conforms():
    await check(LeasedRateLimitStore(MemoryRateLimitStore(), share=0.001), ManualClock())


class Forgetful(MemoryRateLimitStore):
    async def take(self, key, limits, cost, now, patience=0):
        return await MemoryRateLimitStore().take(key, limits, cost, now, patience)


class Generous(MemoryRateLimitStore):
    async def take(self, key, limits, cost, now, patience=0):
        wide = [Rate(one.limit * 2, one.window / SECOND) for one in limits]
        return await super().take(key, tuple(wide), cost, now, patience)


class OneBucket(MemoryRateLimitStore):
    async def take(self, key, limits, cost, now, patience=0):
        return await super().take("key", limits, cost, now, patience)


class Punishing(MemoryRateLimitStore):
    """Counts what it refuses."""

    async def take(self, key, limits, cost, now, patience=0):
        answer = await super().take(key, limits, cost, now, patience)
        if answer[1] > patience:
            await super().take(key, limits, cost, now, 10**15)
        return answer


class Careless(MemoryRateLimitStore):
    """Takes from one limit after the other."""

    async def take(self, key, limits, cost, now, patience=0):
        answers = [
            await super(Careless, self).take(f"{key}{place}", (one,), cost, now, patience)
            for place, one in enumerate(limits)
        ]
        wait = max(answer[1] for answer in answers)
        return (now + wait, wait, *(answer[2] for answer in answers))


class CostBlind(MemoryRateLimitStore):
    async def take(self, key, limits, cost, now, patience=0):
        return await super().take(key, limits, 1, now, patience)


class FixedWindow(MemoryRateLimitStore):
    """Forgets a log when its window ends."""

    async def take(self, key, limits, cost, now, patience=0):
        if isinstance(limits[0], SlidingLog):
            key = f"{key}{now // limits[0].window}"
        return await super().take(key, limits, cost, now, patience)


class Impatient(MemoryRateLimitStore):
    async def take(self, key, limits, cost, now, patience=0):
        return await super().take(key, limits, cost, now, 0)


class Optimist(MemoryRateLimitStore):
    """Tells half of the wait."""

    async def take(self, key, limits, cost, now, patience=0):
        at, wait, *ahead = await super().take(key, limits, cost, now, patience)
        if wait > patience:
            return (at, wait // 2, *(value - wait + wait // 2 for value in ahead))
        return (at, wait, *ahead)


class Racing(MemoryRateLimitStore):
    """Reads and writes in two steps."""

    def __init__(self):
        super().__init__()
        self.at = {}

    async def take(self, key, limits, cost, now, patience=0):
        if len(limits) > 1 or isinstance(limits[0], SlidingLog):
            return await super().take(key, limits, cost, now, patience)
        ahead = max(self.at.get(key, 0), now) + cost * limits[0].interval - now
        await asyncio.sleep(0)
        wait = max(ahead - limits[0].tolerance, 0)
        if wait <= patience:
            self.at[key] = now + ahead
        return (now + wait, wait, ahead)


class GivesAway(MemoryRateLimitStore):
    """Takes back a turn behind which others stand."""

    async def give_back(self, key, limits, cost, answer):
        self._whole_at[key] -= limits[0].interval


class Distracted(MemoryRateLimitStore):
    """Begins anew whenever the options change."""

    async def take(self, key, limits, cost, now, patience=0):
        return await super().take(f"{key}{limits}", limits, cost, now, patience)


class Frozen(MemoryRateLimitStore):
    async def take(self, key, limits, cost, now, patience=0):
        return await super().take(key, limits, cost, 0, patience)


class ShortMemory(MemoryRateLimitStore):
    """Lets keys expire after half a second."""

    async def take(self, key, limits, cost, now, patience=0):
        return await super().take(f"{key}{now * 2 // SECOND}", limits, cost, now, patience)


class Terse(MemoryRateLimitStore):
    """Tells of the first limit alone."""

    async def take(self, key, limits, cost, now, patience=0):
        return (await super().take(key, limits, cost, now, patience))[:3]


@pytest.mark.parametrize(
    "broken",
    [
        Forgetful,
        Generous,
        OneBucket,
        Punishing,
        Careless,
        CostBlind,
        FixedWindow,
        Impatient,
        Optimist,
        Racing,
        GivesAway,
        Distracted,
        Frozen,
        ShortMemory,
        Terse,
    ],
)
async def test_the_suite_finds_a_broken_store(broken):
    with pytest.raises(AssertionError, match="breaks a promise"):
        await check(broken(), ManualClock())
