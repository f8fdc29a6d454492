"""The claim on an idempotency key: who may run, until when, and what was answered."""

from __future__ import annotations

import asyncio
import secrets
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from prodkit._tasks import complete
from prodkit.call import Call, Codec
from prodkit.clock import Clock, TimerHandle
from prodkit.errors import AbortedError
from prodkit.events import Event


class LostClaimError(AbortedError):
    """The lease ran out and somebody else took the key over; what this handler did must not last.

    Raised inside the caller's transaction, it rolls that back.
    """

    reason = "IDEMPOTENCY_CLAIM_LOST"


@dataclass(frozen=True, slots=True)
class ClaimLost(Event):
    """The heartbeat found that somebody else holds the key; the handler's completion will fail."""

    level: ClassVar[str] = "warning"


@dataclass(frozen=True, slots=True)
class StoreFailed(Event):
    """A heartbeat or a release did not reach the store; the lease's end settles it."""

    level: ClassVar[str] = "warning"

    action: str
    error: str


@dataclass(frozen=True, slots=True)
class Record:
    """What a store keeps of a key: whose request (`fingerprint`) and, once there, its `result`."""

    fingerprint: bytes
    result: bytes | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """How long: `lease` seconds without a heartbeat, `retention` seconds after the last change."""

    lease: float
    retention: float


class IdempotencyStore(Protocol):
    """Where claims and answers live; every method is one atomic, conditional step.

    A key is *free* (unknown, released, or past its retention), *running* (claimed, no result), or
    *answered*. `fence` is a random word that changes with the holder: equality decides, so an old
    holder can never pass for a new one, not even after the key was forgotten in between. `now` is
    Unix time; a store with a clock of its own ignores it. Raises UnavailableError when the store
    is away. `prodkit.testing.conformance` checks an implementation.
    """

    #: Whether `complete` can take part in a transaction of the caller's.
    transactional: ClassVar[bool]

    async def claim(
        self, key: str, fingerprint: bytes, fence: str, *, now: float, terms: Terms
    ) -> Record | None:
        """Claim `key` if it is free, or running past its lease with this very fingerprint.

        Return None when it is now ours, else the record that stands in the way.
        """

    async def extend(self, key: str, fence: str, *, now: float, terms: Terms) -> bool:
        """Renew the lease, also one that ran out unnoticed; False if `fence` holds it no more."""

    async def complete(
        self, key: str, fence: str, result: bytes, *, now: float, terms: Terms, tx: object = None
    ) -> bool:
        """Keep `result` if `fence` still holds the running key; False if not.

        With `tx`, a transactional store writes in that transaction and leaves its end to the
        caller; others refuse it with TypeError.
        """

    async def release(self, key: str, fence: str) -> None:
        """Make a running key free if `fence` holds it; an answered one stays answered."""


class Claim:
    """One handler's hold on one idempotency key, kept alive by a heartbeat while it runs.

    `id` is a stable word made of scope and key: the same for every try, different for every other
    key. Handlers derive from it the ids of what they create and the keys of what they call.
    """

    __slots__ = (
        "_answer",
        "_beat",
        "_call",
        "_clock",
        "_codec",
        "_ended",
        "_fence",
        "_store",
        "_terms",
        "_timer",
        "completed",
        "id",
    )

    def __init__(
        self,
        call: Call,
        codec: Codec,
        store: IdempotencyStore,
        id_: str,
        terms: Terms,
        clock: Clock,
    ) -> None:
        self.id = id_
        self.completed = False
        self._call = call
        self._codec = codec
        self._store = store
        self._terms = terms
        self._clock = clock
        self._fence = secrets.token_hex(16)
        self._answer: bytes | None = None
        self._timer: TimerHandle | None = None
        self._beat: asyncio.Task[None] | None = None
        self._ended = False

    async def complete(self, tx: object, result: Any) -> None:
        """Keep `result` as the answer under the key, in the caller's transaction `tx`.

        The last statement of the handler's unit of work: effect and answer commit together, or
        neither does. Raises LostClaimError if somebody took the key over. With a store that
        cannot join a transaction it checks the claim, and the answer is kept once the handler
        returned.
        """
        frozen = self._codec.freeze(result)
        if self._store.transactional:
            await self._keep(frozen, tx)
            return
        if not await self._extend():
            raise self._lost()
        self._answer = frozen

    async def take(self, fingerprint: bytes) -> Record | None:
        """Claim the key; see IdempotencyStore.claim."""
        now = self._clock.wall()
        try:
            return await self._store.claim(
                self.id, fingerprint, self._fence, now=now, terms=self._terms
            )
        except asyncio.CancelledError:
            await self.release()  # whether it was taken before the cancellation is unknown
            raise

    async def settle(self, result: Any) -> None:
        """Keep the handler's result, unless its own transaction did."""
        await self._beaten()
        if not self.completed:
            answer = self._codec.freeze(result) if self._answer is None else self._answer
            await self._keep(answer, None)

    async def let_go(self, *, unknown: bool) -> None:
        """Release the key, or leave it to its lease where what took effect was not rolled back."""
        if unknown and not self._store.transactional:
            await complete(self._beaten())
        else:
            await self.release()

    async def release(self) -> None:
        """Let the key go, unless it is answered or somebody else's; to the end, when cancelled."""
        try:
            await self._let_go()
        except asyncio.CancelledError:
            await complete(self._let_go())
            raise

    async def _let_go(self) -> None:
        await self._beaten()
        try:
            await self._store.release(self.id, self._fence)
        except Exception as error:  # noqa: BLE001  # the handler's own error matters more
            self._call.emit(StoreFailed("idempotency", "release", repr(error)))

    async def _keep(self, frozen: bytes, tx: object) -> None:
        now = self._clock.wall()
        kept = await self._store.complete(
            self.id, self._fence, frozen, now=now, terms=self._terms, tx=tx
        )
        if not kept:
            raise self._lost()
        self.completed = True

    def _lost(self) -> LostClaimError:
        return LostClaimError("another request with the same idempotency key took over")

    def keep_alive(self) -> None:
        """Begin the heartbeat: a timer, and a task only for handlers that are still there then."""
        self._timer = self._clock.call_later(self._terms.lease / 3, self._start_beat)

    def _start_beat(self) -> None:
        self._beat = asyncio.ensure_future(self._renew())

    async def _renew(self) -> None:
        try:
            held = await self._extend()
        except Exception as error:  # noqa: BLE001  # the next beat may succeed; the fence protects
            self._call.emit(StoreFailed("idempotency", "extend", repr(error)))
            held = True
        if self._ended or self.completed:
            return
        if held:
            self.keep_alive()
        else:
            self._call.emit(ClaimLost("idempotency"))

    async def _extend(self) -> bool:
        now = self._clock.wall()
        return await self._store.extend(self.id, self._fence, now=now, terms=self._terms)

    def rest(self) -> None:
        """Stop the heartbeat; `settle` and `release` wait for the beat that is under way."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()

    async def _beaten(self) -> None:
        if self._beat is not None:
            await asyncio.wait({self._beat})


#: The claim that the current task works under; the policy sets it around the handler.
CLAIM: ContextVar[Claim | None] = ContextVar("prodkit_claim", default=None)


def current_claim() -> Claim | None:
    """Return the claim under which the current handler runs, or None when it has no key."""
    return CLAIM.get()
