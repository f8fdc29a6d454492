"""What a store must do, as checks to run on one of your own; AssertionError says what it does not.

    async def test_my_store():
        clock = ManualClock()
        await check_rate_limit_store(MyStore(), now=clock.monotonic, advance=clock.advance)

A store with a clock of its own, Redis say, is given `now=time.monotonic, advance=asyncio.sleep`
(idempotency stores are told Unix time: `time.time`). Every key is fresh, so a store may be checked
while others use it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from prodkit.policies.claim import IdempotencyStore, Record, Terms
from prodkit.policies.gcra import SECOND, Rate, RateLimitStore

Now = Callable[[], float]
Advance = Callable[[float], Awaitable[None]]
Begin = Callable[[], AbstractAsyncContextManager[object]]


def _expect(condition: bool, promise: str) -> None:
    if not condition:
        raise AssertionError(f"the store breaks a promise: {promise}")


def _fresh() -> str:
    return f"conformance-{secrets.token_hex(16)}"


async def check_rate_limit_store(store: RateLimitStore, *, now: Now, advance: Advance) -> None:
    """Check `store` against RateLimitStore: the burst, the refill, separate keys, no lost counts.

    It takes three seconds of the store's time.
    """
    rate = Rate(10, per=1.0, burst=5)
    key = _fresh()

    async def admitted(key: str, calls: int) -> int:
        instant = round(now() * SECOND)
        asked = [store.take(key, rate, instant) for _ in range(calls)]
        return sum(ahead <= rate.tolerance for ahead in await asyncio.gather(*asked))

    count = await admitted(key, 50)
    _expect(5 <= count <= 6, f"50 calls at once of a burst of 5: {count} admitted")
    _expect(await admitted(_fresh(), 1) == 1, "keys do not know of each other")
    await advance(0.25)
    count = await admitted(key, 50)
    _expect(2 <= count <= 3, f"a quarter of a second of 10/s gives back 2 calls, not {count}")
    ahead = await store.take(key, rate, round(now() * SECOND))
    _expect(ahead > rate.tolerance, "a key that used up its rate is refused")
    await advance((ahead - rate.tolerance) / SECOND + 0.001)
    _expect(await admitted(key, 1) == 1, "the wait that a refusal tells is long enough")
    await advance(2.0)
    count = await admitted(key, 50)
    _expect(5 <= count <= 6, f"after a rest the burst is whole, and no more than whole: {count}")


async def check_idempotency_store(
    store: IdempotencyStore, *, now: Now, advance: Advance, begin: Begin | None = None
) -> None:
    """Check `store` against IdempotencyStore; a transactional one needs `begin`.

    `begin()` opens a transaction as an async context manager and gives what `claim.complete` is
    given; it commits at the end and rolls back on an exception. Takes twelve seconds of the store's
    time.
    """
    _expect(store.transactional is (begin is not None), "a transactional store is checked as such")
    keeper = _Keeper(store, now)
    await _check_holders(keeper)
    await _check_answers(keeper, advance)
    await _check_leases(keeper, advance)
    if begin is not None:
        await _check_transactions(keeper, advance, begin)
    else:
        await _check_no_transactions(keeper)


class _Keeper:
    """A store with the terms and the clock filled in; holders have short names."""

    def __init__(self, store: IdempotencyStore, now: Now) -> None:
        self.store = store
        self.now = now
        self.terms = Terms(lease=1.0, retention=2.0)

    async def claim(self, key: str, holder: str, fingerprint: bytes = b"print") -> Record | None:
        return await self.store.claim(key, fingerprint, holder, now=self.now(), terms=self.terms)

    async def extend(self, key: str, holder: str) -> bool:
        return await self.store.extend(key, holder, now=self.now(), terms=self.terms)

    async def complete(self, key: str, holder: str, result: bytes, tx: object = None) -> bool:
        return await self.store.complete(
            key, holder, result, now=self.now(), terms=self.terms, tx=tx
        )

    async def release(self, key: str, holder: str) -> None:
        await self.store.release(key, holder)


async def _check_holders(store: _Keeper) -> None:
    key = _fresh()
    answers = await asyncio.gather(*(store.claim(key, str(holder)) for holder in range(20)))
    winners = [str(holder) for holder, record in enumerate(answers) if record is None]
    _expect(len(winners) == 1, f"of 20 claims at once one wins, not {len(winners)}")
    running = Record(b"print", None)
    losers = [record for record in answers if record is not None]
    _expect(all(record == running for record in losers), "the others see a running record")
    _expect(await store.claim(_fresh(), "other") is None, "keys do not know of each other")
    loser = "19" if winners == ["0"] else "0"
    _expect(not await store.extend(key, loser), "only the holder extends")
    _expect(not await store.complete(key, loser, b"stolen"), "only the holder completes")
    await store.release(key, loser)
    _expect(await store.claim(key, loser) == running, "only the holder releases")
    _expect(await store.extend(key, winners[0]), "the holder extends")
    await store.release(key, winners[0])
    _expect(await store.claim(key, "next", b"else") is None, "what is released is free for all")
    _expect(not await store.complete(key, winners[0], b"late"), "who released holds it no more")


async def _check_answers(store: _Keeper, advance: Advance) -> None:
    key, every_byte = _fresh(), bytes(range(256)) * 4
    await store.claim(key, "first")
    _expect(await store.complete(key, "first", every_byte), "the holder completes")
    answered = Record(b"print", every_byte)
    _expect(await store.claim(key, "second") == answered, "an answer comes back byte for byte")
    _expect(await store.claim(key, "third", b"else") == answered, "whatever the fingerprint")
    _expect(not await store.complete(key, "first", b"again"), "an answer is given once")
    _expect(not await store.extend(key, "first"), "an answered key has no lease")
    await store.release(key, "first")
    _expect(await store.claim(key, "fourth") == answered, "an answer is not released")
    await advance(1.5)
    _expect(await store.claim(key, "fifth") == answered, "an answer outlives the lease")
    await advance(1.0)
    _expect(await store.claim(key, "sixth", b"else") is None, "after its retention a key is free")
    empty = _fresh()
    await store.claim(empty, "first")
    await store.complete(empty, "first", b"")
    _expect(await store.claim(empty, "second") == Record(b"print", b""), "b'' is an answer too")


async def _check_leases(store: _Keeper, advance: Advance) -> None:
    key, running = _fresh(), Record(b"print", None)
    await store.claim(key, "first")
    await advance(0.75)
    _expect(await store.extend(key, "first"), "a lease is extended")
    await advance(0.75)
    _expect(await store.claim(key, "second") == running, "an extended lease protects")
    await advance(0.5)
    _expect(await store.claim(key, "second", b"else") == running, "not for another request")
    _expect(await store.extend(key, "first"), "a lease that ran out unnoticed is extended")
    await advance(1.25)
    _expect(await store.claim(key, "second") is None, "the same request takes over after the lease")
    _expect(not await store.extend(key, "first"), "who was taken over cannot extend")
    _expect(not await store.complete(key, "first", b"late"), "who was taken over cannot complete")
    await store.release(key, "first")
    _expect(await store.complete(key, "second", b"done"), "who took over completes")
    abandoned = _fresh()
    await store.claim(abandoned, "first")
    await advance(2.5)
    _expect(not await store.complete(abandoned, "first", b"late"), "past retention none holds it")
    _expect(await store.claim(abandoned, "second", b"else") is None, "the abandoned is forgotten")


async def _check_transactions(store: _Keeper, advance: Advance, begin: Begin) -> None:
    key = _fresh()
    await store.claim(key, "first")
    try:
        async with begin() as tx:
            _expect(await store.complete(key, "first", b"undone", tx), "it completes in tx")
            raise _RollBackError
    except _RollBackError:
        pass
    _expect(await store.claim(key, "second") == Record(b"print", None), "a roll-back undoes it")
    async with begin() as tx:
        _expect(await store.complete(key, "first", b"done", tx), "a second transaction may do it")
    _expect(await store.claim(key, "second") == Record(b"print", b"done"), "a commit keeps it")
    lost = _fresh()
    await store.claim(lost, "first")
    await advance(1.5)
    await store.claim(lost, "second")
    async with begin() as tx:
        _expect(not await store.complete(lost, "first", b"late", tx), "the fence counts in tx too")


async def _check_no_transactions(store: _Keeper) -> None:
    key = _fresh()
    await store.claim(key, "first")
    try:
        await store.complete(key, "first", b"done", object())
    except TypeError:
        return
    _expect(False, "a store that is not transactional refuses tx with TypeError")


class _RollBackError(Exception):
    """Ends a transaction of the checks."""
