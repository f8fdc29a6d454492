"""What an IdempotencyStore must do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from prodkit.policies.claim import IdempotencyStore, Record, Terms
from prodkit.testing.conformance._expect import Advance, Now, expect, fresh
from prodkit.testing.conformance._steps import Step, run

Begin: TypeAlias = Callable[[], AbstractAsyncContextManager[object]]


async def check_idempotency_store(
    store: IdempotencyStore,
    *,
    now: Now,
    advance: Advance,
    begin: Begin | None = None,
    concurrently: bool = False,
) -> None:
    """Check `store` against IdempotencyStore; a transactional one needs `begin`.

    `begin()` opens a transaction as an async context manager and gives what `claim.complete` is
    given; it commits at the end and rolls back on an exception. Takes twelve seconds of the store's
    time; six, `concurrently`.
    """
    expect(store.transactional is (begin is not None), "a transactional store is checked as such")
    keeper = _Keeper(store, now)
    steps: list[Step] = [
        lambda advance: _check_holders(keeper),
        lambda advance: _check_answers(keeper, advance),
        lambda advance: _check_leases(keeper, advance),
        lambda advance: (
            _check_no_transactions(keeper)
            if begin is None
            else _check_transactions(keeper, advance, begin)
        ),
    ]
    await run(steps, advance, concurrently=concurrently)


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
    key = fresh()
    answers = await asyncio.gather(*(store.claim(key, str(holder)) for holder in range(20)))
    winners = [str(holder) for holder, record in enumerate(answers) if record is None]
    expect(len(winners) == 1, f"of 20 claims at once one wins, not {len(winners)}")
    running = Record(b"print", None)
    losers = [record for record in answers if record is not None]
    expect(all(record == running for record in losers), "the others see a running record")
    expect(await store.claim(fresh(), "other") is None, "keys do not know of each other")
    loser = "19" if winners == ["0"] else "0"
    expect(not await store.extend(key, loser), "only the holder extends")
    expect(not await store.complete(key, loser, b"stolen"), "only the holder completes")
    await store.release(key, loser)
    expect(await store.claim(key, loser) == running, "only the holder releases")
    expect(await store.extend(key, winners[0]), "the holder extends")
    await store.release(key, winners[0])
    expect(await store.claim(key, "next", b"else") is None, "what is released is free for all")
    expect(not await store.complete(key, winners[0], b"late"), "who released holds it no more")


async def _check_answers(store: _Keeper, advance: Advance) -> None:
    key, every_byte = fresh(), bytes(range(256)) * 4
    await store.claim(key, "first")
    expect(await store.complete(key, "first", every_byte), "the holder completes")
    answered = Record(b"print", every_byte)
    expect(await store.claim(key, "second") == answered, "an answer comes back byte for byte")
    expect(await store.claim(key, "third", b"else") == answered, "whatever the fingerprint")
    expect(not await store.complete(key, "first", b"again"), "an answer is given once")
    expect(not await store.extend(key, "first"), "an answered key has no lease")
    await store.release(key, "first")
    expect(await store.claim(key, "fourth") == answered, "an answer is not released")
    await advance(1.5)
    expect(await store.claim(key, "fifth") == answered, "an answer outlives the lease")
    await advance(1.0)
    expect(await store.claim(key, "sixth", b"else") is None, "after its retention a key is free")
    empty = fresh()
    await store.claim(empty, "first")
    await store.complete(empty, "first", b"")
    expect(await store.claim(empty, "second") == Record(b"print", b""), "b'' is an answer too")


async def _check_leases(store: _Keeper, advance: Advance) -> None:
    key, running = fresh(), Record(b"print", None)
    await store.claim(key, "first")
    await advance(0.75)
    expect(await store.extend(key, "first"), "a lease is extended")
    await advance(0.75)
    expect(await store.claim(key, "second") == running, "an extended lease protects")
    await advance(0.5)
    expect(await store.claim(key, "second", b"else") == running, "not for another request")
    expect(await store.extend(key, "first"), "a lease that ran out unnoticed is extended")
    await advance(1.25)
    expect(await store.claim(key, "second") is None, "the same request takes over after the lease")
    expect(not await store.extend(key, "first"), "who was taken over cannot extend")
    expect(not await store.complete(key, "first", b"late"), "who was taken over cannot complete")
    await store.release(key, "first")
    expect(await store.complete(key, "second", b"done"), "who took over completes")
    abandoned = fresh()
    await store.claim(abandoned, "first")
    await advance(2.5)
    expect(not await store.complete(abandoned, "first", b"late"), "past retention none holds it")
    expect(await store.claim(abandoned, "second", b"else") is None, "the abandoned is forgotten")


async def _check_transactions(store: _Keeper, advance: Advance, begin: Begin) -> None:
    key = fresh()
    await store.claim(key, "first")
    try:
        async with begin() as tx:
            expect(await store.complete(key, "first", b"undone", tx), "it completes in tx")
            raise _RollBackError
    except _RollBackError:
        pass
    expect(await store.claim(key, "second") == Record(b"print", None), "a roll-back undoes it")
    async with begin() as tx:
        expect(await store.complete(key, "first", b"done", tx), "a second transaction may do it")
    expect(await store.claim(key, "second") == Record(b"print", b"done"), "a commit keeps it")
    lost = fresh()
    await store.claim(lost, "first")
    await advance(1.5)
    await store.claim(lost, "second")
    async with begin() as tx:
        expect(not await store.complete(lost, "first", b"late", tx), "the fence counts in tx too")


async def _check_no_transactions(store: _Keeper) -> None:
    key = fresh()
    await store.claim(key, "first")
    try:
        await store.complete(key, "first", b"done", object())
    except TypeError:
        return
    expect(False, "a store that is not transactional refuses tx with TypeError")


class _RollBackError(Exception):
    """Ends a transaction of the checks."""
