"""What a CacheStore must do."""

from __future__ import annotations

import asyncio

from prodkit.data.cache import CacheStore
from prodkit.testing.conformance._expect import Advance, expect, fresh
from prodkit.testing.conformance._steps import Step, run


async def check_cache(store: CacheStore, *, advance: Advance, concurrently: bool = False) -> None:
    """Check `store` against CacheStore: its values, their time, and the leases to load them.

    Takes four seconds of the store's time; two and a half, `concurrently`.
    """
    steps: list[Step] = [
        lambda advance: _check_values(store),
        lambda advance: _check_times(store, advance),
        lambda advance: _check_holders(store),
        lambda advance: _check_what_ends_a_lease(store),
        lambda advance: _check_lease_times(store, advance),
    ]
    await run(steps, advance, concurrently=concurrently)


async def _value(store: CacheStore, key: str) -> bytes | None:
    found = await store.get(key)
    return None if found is None else found[0]


async def _check_values(store: CacheStore) -> None:
    key, other, every_byte = fresh(), fresh(), bytes(range(256)) * 4
    expect(await store.get(key) is None, "what was never set is not there")
    await store.delete(key)
    expect(await store.set(key, every_byte, ttl=30.0), "a value is kept, and set says so")
    expect(await _value(store, key) == every_byte, "a value comes back byte for byte")
    expect(await store.get(other) is None, "keys do not know of each other")
    await store.set(key, b"new", ttl=30.0)
    expect(await _value(store, key) == b"new", "the later value counts")
    await store.set(key, b"", ttl=30.0)
    expect(await _value(store, key) == b"", "b'' is a value too")
    await store.set(other, b"other", ttl=30.0)
    await store.delete(key)
    expect(await store.get(key) is None, "what was deleted is not there")
    expect(await _value(store, other) == b"other", "delete forgets one key")


async def _check_times(store: CacheStore, advance: Advance) -> None:
    key, again = fresh(), fresh()
    await store.set(key, b"value", ttl=1.0)
    await store.set(again, b"value", ttl=1.0)
    found = await store.get(key)
    expect(found is not None and 0.5 < found[1] <= 1.0, "get tells the seconds that are left")
    await advance(0.6)
    found = await store.get(key)
    expect(found is not None and 0 < found[1] <= 0.4, "they get fewer, however often one asks")
    await store.set(again, b"value", ttl=2.0)
    await advance(0.6)
    expect(await store.get(key) is None, "after its ttl a value is gone")
    expect(await _value(store, again) == b"value", "set begins a new ttl")


async def _check_holders(store: CacheStore) -> None:
    key = fresh()
    asked = (store.acquire(key, str(holder), ttl=30.0) for holder in range(20))
    answers = await asyncio.gather(*asked)
    expect(answers.count(True) == 1, f"of 20 at once one gets the lease, not {answers.count(True)}")
    winner = str(answers.index(True))
    loser = "19" if winner == "0" else "0"
    expect(await store.acquire(fresh(), loser, ttl=30.0), "a lease is of one key")
    expect(await store.get(key) is None, "a lease is no value")
    expect(not await store.set(key, b"x", ttl=30.0, holder=loser), "only the holder sets by it")
    expect(await store.get(key) is None, "what was refused is not kept")
    await store.release(key, loser)
    expect(not await store.acquire(key, loser, ttl=30.0), "only the holder releases")
    await store.release(key, winner)
    expect(await store.acquire(key, loser, ttl=30.0), "what is released can be had")
    expect(not await store.set(key, b"x", ttl=30.0, holder=winner), "who released holds no more")
    expect(await store.set(key, b"loaded", ttl=30.0, holder=loser), "the holder sets")
    expect(await _value(store, key) == b"loaded", "what the holder set is kept")


async def _check_what_ends_a_lease(store: CacheStore) -> None:
    key = fresh()
    await store.acquire(key, "first", ttl=30.0)
    await store.set(key, b"loaded", ttl=30.0, holder="first")
    expect(not await store.set(key, b"x", ttl=30.0, holder="first"), "a lease sets once")
    expect(not await store.acquire(key, "next", ttl=30.0), "where there is a value is no lease")
    await store.delete(key)
    expect(await store.acquire(key, "second", ttl=30.0), "a deleted key can be loaded anew")
    await store.delete(key)
    late = await store.set(key, b"stale", ttl=30.0, holder="second")
    expect(not late, "a delete ends the lease: what was loaded before it is refused")
    expect(await store.acquire(key, "third", ttl=30.0), "a delete frees the lease")
    await store.set(key, b"newer", ttl=30.0)
    late = await store.set(key, b"stale", ttl=30.0, holder="third")
    expect(not late, "a set without a lease ends it: what is being loaded is older")
    expect(await _value(store, key) == b"newer", "the newer value stays")


async def _check_lease_times(store: CacheStore, advance: Advance) -> None:
    taken, late = fresh(), fresh()
    await store.acquire(taken, "first", ttl=1.0)
    await store.acquire(late, "first", ttl=1.0)
    await advance(0.5)
    expect(not await store.acquire(taken, "second", ttl=1.0), "a lease protects while it lasts")
    await advance(0.7)
    expect(not await store.set(late, b"x", ttl=30.0, holder="first"), "a lease ends with its ttl")
    expect(await store.acquire(taken, "second", ttl=30.0), "after it the next one loads")
    expect(not await store.set(taken, b"x", ttl=30.0, holder="first"), "who is late is refused")
    await store.release(taken, "first")
    expect(await store.set(taken, b"new", ttl=30.0, holder="second"), "and disturbs nobody")
    value = fresh()
    await store.set(value, b"value", ttl=1.0)
    await advance(1.2)
    expect(await store.acquire(value, "next", ttl=1.0), "an expired value is no value")
