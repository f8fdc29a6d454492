"""Idempotency: a request that comes again gets the answer of the first, not a second effect."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

from prodkit._tasks import complete
from prodkit.call import Call, Codec
from prodkit.clock import SYSTEM_CLOCK, Clock, checked_clock, seconds
from prodkit.errors import (
    FAILURE_CODES,
    AbortedError,
    Code,
    ConfigurationError,
    InvalidArgumentError,
    RejectedError,
    code_of,
)
from prodkit.events import Event
from prodkit.options import function, implementation
from prodkit.pipeline import Next
from prodkit.policies._idempotency_key import claim_id, principal_and_operation, valid_key
from prodkit.policies.claim import (
    CLAIM,
    Claim,
    ClaimLost,
    IdempotencyStore,
    LostClaimError,
    Record,
    StoreFailed,
    Terms,
    current_claim,
)
from prodkit.traits import Trait

__all__ = [
    "AnswerReplayed",
    "Claim",
    "ClaimLost",
    "Idempotency",
    "IdempotencyStore",
    "LostClaimError",
    "Record",
    "StoreFailed",
    "Terms",
    "current_claim",
    "principal_and_operation",
]

T = TypeVar("T")
#: Seconds after which a caller may ask again while the first try still runs.
_ASK_AGAIN = 1.0
#: Ends that do not say whether the handler took effect.
_UNKNOWN = frozenset({Code.CANCELLED, Code.DEADLINE_EXCEEDED})
#: Returned results that say "not done": they are not kept, so that the same key may try again.
_NOT_DONE = FAILURE_CODES | {
    Code.CANCELLED,
    Code.INVALID_ARGUMENT,
    Code.PERMISSION_DENIED,
    Code.RESOURCE_EXHAUSTED,
    Code.ABORTED,
    Code.UNIMPLEMENTED,
    Code.UNAUTHENTICATED,
}


@dataclass(frozen=True, slots=True)
class AnswerReplayed(Event):
    """A call was answered with what its key had been answered before."""


class Idempotency:
    """Lets a call with a key have its local effect once, and answers its repetitions from a store.

    Follows draft-ietf-httpapi-idempotency-key-header-07: a key that is malformed, or missing where
    `required`, is an InvalidArgumentError, and so is another payload under a used key
    (IDEMPOTENCY_KEY_REUSED); a key whose first call still runs is an AbortedError with
    `retry_after` (IDEMPOTENCY_KEY_IN_USE). Calls without a key, streams, and operations declared
    safe to repeat are left alone.

    The promise is the store's. In a handler that ends its transaction with
    `await current_claim().complete(tx, result)` over a SQL store in the same database, the effect
    commits at most once while the key is retained, whatever crashes. Otherwise: one execution at a
    time while the lease is renewed, and a crash between effect and answer runs it again.

    How the handler ended decides what becomes of its key:

    - it returned: the answer is kept and replayed, a 404 or 410 too, unless its code says "not
      done" (HTTP 400, 401, 403, 405, 409, 413, 415, 422, 429, 5xx): then the key is free at once;
    - it raised: free at once, whatever it raised, but for the next;
    - it was cancelled (its client left, a drain or a Deadline outside ended it), or it raised or
      returned DEADLINE_EXCEEDED (504) or CANCELLED (408, 499): nobody knows whether it took
      effect. With a transactional store the key is free at once, since what did not commit was
      rolled back; a handler that has effects elsewhere gives them `current_claim().id` as a key.
      With any other store the key stays in use until its lease ends, then it may run again.

    Authentication, authorization and validation belong before this policy. `scope` says whose a key
    is: by default the caller's and the operation's; an operation that anybody may call needs a
    function of its own. `secret` (16 bytes or more, the same in every process) keys the
    fingerprints; after a change of it, old keys sent again are refused as reused, never run twice.
    `lease`: seconds until a dead process's key may run again, several times the longest
    transaction; `retention`: seconds that answers are kept.
    """

    __slots__ = ("_asked", "_clock", "_required", "_scope", "_secret", "_store", "_terms", "traits")

    def __init__(
        self,
        store: IdempotencyStore,
        *,
        secret: bytes,
        scope: Callable[[Call], str] = principal_and_operation,
        required: bool = False,
        lease: float | timedelta = 30.0,
        retention: float | timedelta = 86_400.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not isinstance(secret, bytes):
            raise ConfigurationError(f"secret must be bytes, not {type(secret).__name__}")
        if len(secret) < 16:
            raise ConfigurationError(f"secret must be at least 16 bytes, not {len(secret)}")
        self._terms = _terms(lease, retention)
        self.traits = Trait.REPLAYS
        if scope is principal_and_operation:
            self.traits |= Trait.NEEDS_PRINCIPAL
        self._store = implementation("store", store, IdempotencyStore)
        self._secret = secret
        self._scope = function("scope", scope)
        self._required = required
        self._clock = checked_clock(clock)
        #: By key: what came of asking the store, from then on until the handler has ended.
        self._asked: dict[str, asyncio.Future[Record]] = {}

    def reconfigure(
        self,
        *,
        required: bool | None = None,
        lease: float | timedelta | None = None,
        retention: float | timedelta | None = None,
    ) -> None:
        """Change what is given, for the calls that come from now on; what is kept stays kept."""
        terms = self._terms
        self._terms = _terms(
            terms.lease if lease is None else lease,
            terms.retention if retention is None else retention,
        )
        self._required = self._required if required is None else required

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        """Run `call` under its key, or answer it as its key was answered before."""
        if call.safe or (call.key is None and (call.streaming or not self._required)):
            return await proceed(call)
        key, codec = valid_key(call.key), call.codec
        if codec is None:
            raise ConfigurationError(f"{call.transport}: this door cannot keep answers")
        claim = Claim(
            call, codec, self._store, claim_id(self._scope(call), key), self._terms, self._clock
        )
        fingerprint = hmac.digest(self._secret, await codec.content(), "sha256")
        record = await self._claimed(claim, fingerprint)
        if record is not None:
            return cast("T", _answer(call, codec, record, fingerprint))
        try:
            return await _run(call, claim, proceed)
        finally:
            del self._asked[claim.id]

    async def _claimed(self, claim: Claim, fingerprint: bytes) -> Record | None:
        """Claim the key; return what stands in the way.

        The store is asked once at a time for each key: callers of this process that send one
        together hear what the first of them heard, and do not queue for the database.
        """
        while (asked := self._asked.get(claim.id)) is not None:
            await asyncio.wait({asked})
            if not asked.cancelled():
                return asked.result()
        self._asked[claim.id] = asked = asyncio.get_running_loop().create_future()
        try:
            record = await claim.take(fingerprint)
        except BaseException:
            asked.cancel()
            del self._asked[claim.id]
            raise
        asked.set_result(record or Record(fingerprint))
        if record is not None:
            del self._asked[claim.id]
        return record

    def __repr__(self) -> str:
        terms, needed = self._terms, ", required" if self._required else ""
        return f"Idempotency(lease {terms.lease:g} s, kept {terms.retention:g} s{needed})"


def _terms(lease: float | timedelta, retention: float | timedelta) -> Terms:
    terms = Terms(seconds("lease", lease), seconds("retention", retention))
    if terms.retention < terms.lease:
        raise ConfigurationError(
            f"retention must not be under lease ({terms.lease:g} s), not {terms.retention:g} s"
        )
    return terms


async def _run(call: Call, claim: Claim, proceed: Next[T]) -> T:
    try:
        result = await _beating(call, claim, proceed)
    except BaseException as error:
        ran = not (isinstance(error, RejectedError) and error.refuses(call))
        await claim.let_go(unknown=ran and code_of(error) in _UNKNOWN)
        raise
    if call.code in _NOT_DONE:
        await claim.let_go(unknown=call.code in _UNKNOWN)
        return result
    try:  # what took effect is kept, though its caller be gone: that one will ask again
        await complete(claim.settle(result))
    except BaseException:
        await claim.release()
        raise
    return result


async def _beating(call: Call, claim: Claim, proceed: Next[T]) -> T:
    token = CLAIM.set(claim)
    claim.keep_alive()
    try:
        return await proceed(call)
    finally:
        CLAIM.reset(token)
        claim.rest()


def _answer(call: Call, codec: Codec, record: Record, fingerprint: bytes) -> object:
    if not hmac.compare_digest(record.fingerprint, fingerprint):
        raise InvalidArgumentError(
            "this idempotency key was used for a different request", reason="IDEMPOTENCY_KEY_REUSED"
        )
    if record.result is None:
        raise AbortedError(
            "a request with this idempotency key is still running, or may have taken effect",
            reason="IDEMPOTENCY_KEY_IN_USE",
            retry_after=_ASK_AGAIN,
        )
    call.emit(AnswerReplayed("idempotency"))
    return codec.thaw(record.result)
