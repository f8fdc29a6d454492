import asyncio

import pytest

from prodkit.errors import ConfigurationError
from prodkit.stores.memory import MemoryCacheStore
from prodkit.testing import ManualClock
from prodkit.testing.conformance import check_cache

pytestmark = pytest.mark.anyio


async def test_it_keeps_its_promises():
    clock = ManualClock()
    await check_cache(MemoryCacheStore(clock=clock), advance=clock.advance)


async def test_it_is_bounded_by_what_was_used_last():
    store = MemoryCacheStore(max_size=2)
    for key in ("a", "b"):
        await store.set(key, b"", ttl=10.0)
    await store.get("a")
    await store.set("c", b"", ttl=10.0)
    assert [await store.get(key) is not None for key in "abc"] == [True, False, True]
    assert store.size == 2


async def test_its_leases_are_bounded_too():
    store = MemoryCacheStore(max_size=2)
    assert all([await store.acquire(key, "x", ttl=10.0) for key in "abc"])
    assert await store.acquire("a", "y", ttl=10.0)
    assert not await store.acquire("c", "y", ttl=10.0)


@pytest.mark.parametrize("size", [0, True, 1.5])
def test_a_size_that_cannot_be_is_named(size):
    with pytest.raises(ConfigurationError, match="max_size must be a whole number of at least 1"):
        MemoryCacheStore(max_size=size)


class Mutant(MemoryCacheStore):
    __slots__ = ("taken",)


class ForgetsNothing(Mutant):
    async def delete(self, key):
        pass


class DeletesEverything(Mutant):
    async def delete(self, key):
        self._values.clear()
        self._leases.clear()


class LeasesOutliveDeletes(Mutant):
    async def delete(self, key):
        self._values.pop(key, None)


class LeasesOutliveSets(Mutant):
    async def set(self, key, value, *, ttl, holder=None):
        lease = self._leases.get(key)
        kept = await super().set(key, value, ttl=ttl, holder=holder)
        if lease is not None and kept:
            self._leases[key] = lease
        return kept


class LeasesOutlivePlainSets(Mutant):
    async def set(self, key, value, *, ttl, holder=None):
        lease = self._leases.get(key)
        kept = await super().set(key, value, ttl=ttl, holder=holder)
        if lease is not None and holder is None:
            self._leases[key] = lease
        return kept


class IgnoresHolders(Mutant):
    async def set(self, key, value, *, ttl, holder=None):
        return await super().set(key, value, ttl=ttl)


class SaysYesToEverySet(Mutant):
    async def set(self, key, value, *, ttl, holder=None):
        await super().set(key, value, ttl=ttl, holder=holder)
        return True


class SaysNothingOfSets(Mutant):
    async def set(self, key, value, *, ttl, holder=None):
        await super().set(key, value, ttl=ttl, holder=holder)


class RefusesAndKeeps(Mutant):
    async def set(self, key, value, *, ttl, holder=None):
        kept = await super().set(key, value, ttl=ttl, holder=holder)
        if not kept:
            self._values[key] = (value, self._monotonic() + ttl)
        return kept


class NeverExpires(Mutant):
    async def get(self, key):
        found = self._values.get(key)
        return None if found is None else (found[0], 0.4)


class TellsTheWholeTtl(Mutant):
    async def get(self, key):
        found = await super().get(key)
        return None if found is None else (found[0], 1.0)


class RenewsOnRead(Mutant):
    async def get(self, key):
        found = await super().get(key)
        if found is not None:
            self._values[key] = (found[0], self._monotonic() + 1.0)
        return found


class KeepsTheFirstTtl(Mutant):
    async def set(self, key, value, *, ttl, holder=None):
        before = self._values.get(key)
        kept = await super().set(key, value, ttl=ttl, holder=holder)
        if before is not None:
            self._values[key] = (value, before[1])
        return kept


class KeepsTheFirstValue(Mutant):
    async def set(self, key, value, *, ttl, holder=None):
        if holder is None and key in self._values:
            return True
        return await super().set(key, value, ttl=ttl, holder=holder)


class EmptyIsNone(Mutant):
    async def get(self, key):
        found = await super().get(key)
        return found if found and found[0] else None


class Text(Mutant):
    async def get(self, key):
        found = await super().get(key)
        return found and (found[0].decode("ascii", "replace").encode(), found[1])


class OneKey(Mutant):
    async def get(self, key):
        return await super().get("key")

    async def set(self, key, value, *, ttl, holder=None):
        return await super().set("key", value, ttl=ttl, holder=holder)


class LeaseForAll(Mutant):
    async def acquire(self, key, holder, *, ttl):
        return True


class LooksThenLeases(Mutant):
    async def acquire(self, key, holder, *, ttl):
        free = self._holder(key) is None and await self.get(key) is None
        await asyncio.sleep(0)
        if free:
            self._leases[key] = (holder, self._monotonic() + ttl)
        return free


class OneLease(Mutant):
    async def acquire(self, key, holder, *, ttl):
        return not self._leases and await super().acquire(key, holder, ttl=ttl)


class LeasesWhereThereIsAValue(Mutant):
    async def acquire(self, key, holder, *, ttl):
        if self._holder(key) is not None:
            return False
        self._leases[key] = (holder, self._monotonic() + ttl)
        return True


class LeasesNoExpiredValue(Mutant):
    async def acquire(self, key, holder, *, ttl):
        return key not in self._values and await super().acquire(key, holder, ttl=ttl)


class LeasesLastForEver(Mutant):
    def _holder(self, key):
        return self._leases.get(key, (None, 0))[0]


class LeasesEndEarly(Mutant):
    async def acquire(self, key, holder, *, ttl):
        return await super().acquire(key, holder, ttl=min(ttl / 4, 0.25))


class LateHoldersSet(Mutant):
    async def set(self, key, value, *, ttl, holder=None):
        if holder is not None and self._leases.get(key, ("", 0))[0] == holder:
            holder = None
        return await super().set(key, value, ttl=ttl, holder=holder)


class AnybodyReleases(Mutant):
    async def release(self, key, holder):
        self._leases.pop(key, None)


class NobodyReleases(Mutant):
    async def release(self, key, holder):
        pass


class ALeaseIsAValue(Mutant):
    async def acquire(self, key, holder, *, ttl):
        done = await super().acquire(key, holder, ttl=ttl)
        if done:
            self._values[key] = (b"", self._monotonic() + ttl)
        return done


class RefusesMissing(Mutant):
    async def delete(self, key):
        if key not in self._values and key not in self._leases:
            raise KeyError(key)
        await super().delete(key)


@pytest.mark.parametrize("mutant", Mutant.__subclasses__(), ids=lambda kind: kind.__name__)
async def test_a_store_that_breaks_a_promise_is_caught(mutant):
    clock = ManualClock()
    with pytest.raises((AssertionError, KeyError)):
        await check_cache(mutant(clock=clock), advance=clock.advance)
