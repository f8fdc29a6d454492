"""Idempotency: a request that comes again gets the answer of the first, not a second effect."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from prodkit.call import Call, Codec
from prodkit.clock import SYSTEM_CLOCK, Clock, seconds
from prodkit.errors import (
    FAILURE_CODES,
    AbortedError,
    Code,
    ConfigurationError,
    InvalidArgumentError,
)
from prodkit.events import Event
from prodkit.pipeline import Next, Trait
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
_LONGEST_KEY = 255
#: Seconds after which a caller may ask again while the first try still runs.
_ASK_AGAIN = 1.0
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


def principal_and_operation(call: Call) -> str:
    """Scope a key to who sends it and what for, so that nobody reads another's answer.

    Raises ConfigurationError where nobody is known: a public operation must name its own scope.
    """
    if call.principal is None:
        raise ConfigurationError(
            f"{call.operation}: nobody is known here, so a public operation that takes an "
            "idempotency key must name its own scope function"
        )
    subject = call.principal.subject
    return f"{len(subject)}:{subject}:{call.operation}"


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

    Only what the handler returned is kept. Exceptions, failures and refusals release the key;
    authentication, authorization and validation belong before this policy. `scope` says whose a key
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
        lease: float = 30.0,
        retention: float = 86_400.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not isinstance(secret, bytes):
            raise ConfigurationError(f"secret must be bytes, not {type(secret).__name__}")
        if len(secret) < 16:
            raise ValueError(f"secret must be at least 16 bytes, not {len(secret)}")
        self._terms = Terms(seconds("lease", lease), seconds("retention", retention))
        if retention < lease:
            raise ValueError(f"retention ({retention:g} s) must not be under lease ({lease:g} s)")
        self.traits = Trait.REPLAYS
        if scope is principal_and_operation:
            self.traits |= Trait.NEEDS_PRINCIPAL
        self._store = store
        self._secret = secret
        self._scope = scope
        self._required = required
        self._clock = clock
        #: By key: what came of asking the store, from then on until the handler has ended.
        self._asked: dict[str, asyncio.Future[Record]] = {}

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        """Run `call` under its key, or answer it as its key was answered before."""
        if call.safe or (call.key is None and (call.streaming or not self._required)):
            return await proceed(call)
        key, codec = _valid(call.key), call.codec
        if codec is None:
            raise ConfigurationError(f"{call.transport}: this door cannot keep answers")
        claim = Claim(
            call, codec, self._store, _id(self._scope(call), key), self._terms, self._clock
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


async def _run(call: Call, claim: Claim, proceed: Next[T]) -> T:
    try:
        result = await _beating(call, claim, proceed)
        if call.code in _NOT_DONE:
            await claim.release()
        else:
            await claim.settle(result)
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
        await claim.end()


def _answer(call: Call, codec: Codec, record: Record, fingerprint: bytes) -> object:
    if not hmac.compare_digest(record.fingerprint, fingerprint):
        raise InvalidArgumentError(
            "this idempotency key was used for a different request", reason="IDEMPOTENCY_KEY_REUSED"
        )
    if record.result is None:
        raise AbortedError(
            "a request with this idempotency key is still running",
            reason="IDEMPOTENCY_KEY_IN_USE",
            retry_after=_ASK_AGAIN,
        )
    call.emit(AnswerReplayed("idempotency"))
    return codec.thaw(record.result)


def _valid(key: str | None) -> str:
    if key is None:
        raise InvalidArgumentError(
            "this operation needs an idempotency key", reason="IDEMPOTENCY_KEY_MISSING"
        )
    if not 0 < len(key) <= _LONGEST_KEY:
        raise InvalidArgumentError(
            f"an idempotency key has 1 to {_LONGEST_KEY} characters, not {len(key)}",
            reason="IDEMPOTENCY_KEY_INVALID",
        )
    return key


def _id(scope: str, key: str) -> str:
    named = f"{len(scope)}:{scope}:{key}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(named).hexdigest()[:32]
