"""Retry: repeat what may be repeated, where it helps, and never into a storm."""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeAlias, TypeVar, cast

from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock, seconds
from prodkit.errors import Code, ConfigurationError, RejectedError, ServiceError, code_of
from prodkit.events import Event
from prodkit.pipeline import Next, Trait
from prodkit.policies.retry_budget import RetryBudget

__all__ = ["RETRY_MARK", "RetriesExhausted", "Retry", "RetryBudget", "RetryScheduled"]

T = TypeVar("T")
Predicate: TypeAlias = Callable[[Call, Exception | None], bool]
On: TypeAlias = "type[Exception] | Code | Predicate | Iterable[type[Exception] | Code]"
_OK = Code.OK

#: The key under which a failure says, in `ServiceError.metadata`, that it was retried in vain.
#: Doors carry metadata; whoever reads it further up does not repeat.
RETRY_MARK = "prodkit-retry"


@dataclass(frozen=True, slots=True)
class RetryScheduled(Event):
    """Attempt number `attempt` failed with `code`; the next one begins in `wait` seconds."""

    attempt: int
    code: Code
    wait: float


@dataclass(frozen=True, slots=True)
class RetriesExhausted(Event):
    """After `attempts` attempts a failure was not repeated; `why` says what forbade it."""

    attempts: int
    code: Code
    why: str


class _Ended(Generic[T]):
    """How one attempt ended."""

    __slots__ = ("code", "error", "refused", "result", "retry_after")

    def __init__(self, call: Call, error: Exception | None, result: T | None) -> None:
        self.error = error
        self.result = result
        self.code = call.code if error is None else code_of(error)
        self.refused = isinstance(error, RejectedError) and error.refuses(call)
        asked = error.retry_after if isinstance(error, ServiceError) else None
        self.retry_after = call.retry_after if asked is None else asked

    def hand_back(self, call: Call, note: str) -> T:
        """Return the result or raise the error, as if this had been the only attempt."""
        if self.error is not None:
            self.error.add_note(note)
            raise self.error
        call.code, call.retry_after = self.code, self.retry_after
        return cast("T", self.result)


class Retry:
    """Repeats failures that `on` names: exception types, codes, both, or a predicate.

    Only a call that may be repeated is: one that is declared safe (`call.safe`) or carries an
    idempotency key; any other runs once. Outbound only, never a stream (doors refuse it at bind).
    At most `attempts` in all, each repeat paid for from `budget`. Waits are decorrelated jitter
    (AWS, "Exponential Backoff And Jitter"): from `wait_initial` to three times the wait before,
    `wait_max` at most; `wait_jitter`, 0 to 1, is how much of that range is left to chance (at 0 it
    is always the longest). A callee that asks for `retry_after` gets it; one that asks for more
    than `wait_max`, or for less than zero (gRPC's "do not"), is not asked again. Nothing starts
    that could not end before `call.deadline`.

    A code names exceptions (`code_of`) and results alike (`call.code`, which a door sets from the
    wire). That a policy further in refused this very call is repeated only if `on` names
    RejectedError or a class below it: whoever refused asked for less load. That a call made on
    our behalf was refused counts as UNAVAILABLE. Cancellation is never repeated.

    In the end the failure comes back as it was, with a note. One that was given up is marked
    (`RETRY_MARK`), and a Retry further up lets it pass: only the hop next to the failure repeats.
    A repeat that was refused does not hide that an earlier attempt ran: that one is raised.
    """

    __slots__ = (
        "_attempts",
        "_budget",
        "_clock",
        "_codes",
        "_predicate",
        "_random",
        "_refusals",
        "_types",
        "_wait_initial",
        "_wait_jitter",
        "_wait_max",
    )

    traits = Trait.REPEATS

    def __init__(
        self,
        *,
        on: On,
        attempts: int = 3,
        wait_initial: float | timedelta = 0.1,
        wait_max: float | timedelta = 5.0,
        wait_jitter: float = 1.0,
        budget: RetryBudget | None = None,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = _random.random,
    ) -> None:
        if not isinstance(attempts, int) or attempts < 1:
            raise ConfigurationError(f"attempts must be a number of at least 1, not {attempts!r}")
        if not 0 <= wait_jitter <= 1:
            raise ConfigurationError(f"wait_jitter must be 0 to 1, not {wait_jitter!r}")
        self._wait_initial = seconds("wait_initial", wait_initial)
        self._wait_max = seconds("wait_max", wait_max)
        if self._wait_max < self._wait_initial:
            raise ConfigurationError(f"wait_max must not be below wait_initial, as {wait_max!r} is")
        self._predicate, self._types, self._codes = _parse(on)
        self._refusals = tuple(t for t in self._types if issubclass(t, RejectedError))
        self._attempts = attempts
        self._wait_jitter = wait_jitter
        self._budget = budget or RetryBudget()
        self._clock = clock
        self._random = random

    async def __call__(self, call: Call, proceed: Next[T]) -> T:
        """Let `call` proceed, and again where that is allowed and may help."""
        self._budget.calls += 1
        try:
            result = await proceed(call)
        except Exception as error:
            if not self._would_repeat(call, error):
                raise
            ended = _Ended[T](call, error, None)
        else:
            if call.code is _OK and self._predicate is None:
                return result
            if not self._would_repeat(call, None):
                return result
            ended = _Ended(call, None, result)
        return await self._repeat(call, proceed, ended)

    async def _repeat(self, call: Call, proceed: Next[T], ended: _Ended[T]) -> T:
        """Go on after a first attempt that failed; `ran` is how the last one that ran ended."""
        ran, attempt, wait = ended, 1, self._wait_initial
        while True:
            wait = self._next_wait(wait)
            pause = max(wait, ended.retry_after or 0.0)
            why = self._forbids(call, ended, attempt, pause)
            if why is None:
                call.emit(RetryScheduled("retry", attempt, ended.code, pause))
                await self._clock.sleep(pause)
                why = self._too_late(call, 0.0)
            if why is not None:
                return self._give_up(call, ran, attempt, why)
            attempt += 1
            ended = await self._try_again(call, proceed, attempt)
            if not ended.refused:
                ran = ended
            if not self._would_repeat(call, ended.error):
                if ended.refused:
                    return self._give_up(call, ran, attempt, "the last attempt was refused")
                return ended.hand_back(call, f"Retry: this was attempt {attempt}")

    @staticmethod
    async def _try_again(call: Call, proceed: Next[T], attempt: int) -> _Ended[T]:
        call.attempt, call.code, call.retry_after = attempt, _OK, None
        try:
            result = await proceed(call)
        except Exception as error:  # noqa: BLE001 - it is raised again, here or by the last attempt
            return _Ended(call, error, None)
        return _Ended(call, None, result)

    def _would_repeat(self, call: Call, error: Exception | None) -> bool:
        if not self._matches(call, error) or call.streaming:
            return False
        marked = error is not None and RETRY_MARK in _metadata(error)
        return not marked and (call.safe is True or call.key is not None)

    def _matches(self, call: Call, error: Exception | None) -> bool:
        code = call.code if error is None else code_of(error)
        if code is Code.CANCELLED:
            return False
        if self._predicate is not None:
            return self._predicate(call, error)
        if isinstance(error, RejectedError):
            if error.refuses(call):
                return isinstance(error, self._refusals)
            code = Code.UNAVAILABLE
        return code in self._codes or isinstance(error, self._types)

    def _next_wait(self, before: float) -> float:
        longest = before * 3
        chance = self._wait_jitter * self._random() * (longest - self._wait_initial)
        return min(self._wait_max, longest - chance)

    def _forbids(self, call: Call, ended: _Ended[T], attempt: int, pause: float) -> str | None:
        """Say why there is no further attempt, or take its price from the budget."""
        asked = ended.retry_after or 0.0
        if attempt >= self._attempts:
            return "no attempts left"
        if asked < 0:
            return "the callee asked not to repeat"
        if asked > self._wait_max:
            return f"the callee asked for {asked:g} s, more than wait_max"
        late = self._too_late(call, pause)
        if late is None and not self._budget.withdraw(self._clock.monotonic()):
            return "the retry budget is used up"
        return late

    def _too_late(self, call: Call, pause: float) -> str | None:
        if call.deadline is None or self._clock.monotonic() + pause < call.deadline:
            return None
        return "the deadline comes first"

    @staticmethod
    def _give_up(call: Call, ran: _Ended[T], attempts: int, why: str) -> T:
        call.emit(RetriesExhausted("retry", attempts, ran.code, why))
        if ran.error is not None:
            _mark(ran.error)
        return ran.hand_back(call, f"Retry: gave up after {attempts} attempts: {why}")

    def __repr__(self) -> str:
        return f"Retry(attempts={self._attempts})"


def _parse(on: On) -> tuple[Predicate | None, tuple[type[Exception], ...], frozenset[Code]]:
    if callable(on) and not isinstance(on, type):
        return on, (), frozenset()
    named = (on,) if isinstance(on, (type, Code)) else tuple(on)
    types = tuple(n for n in named if isinstance(n, type) and issubclass(n, Exception))
    codes = frozenset(n for n in named if isinstance(n, Code)) - {_OK, Code.CANCELLED}
    if not named or len(types) + len(codes) < len(set(named)):
        raise ConfigurationError(
            "on must be exception types, codes other than OK and CANCELLED, or a predicate, "
            f"not {on!r}"
        )
    return None, types, codes


def _metadata(error: Exception) -> Mapping[str, object]:
    """Where `error` is marked; any exception has attributes, only metadata leaves the process."""
    return error.metadata if isinstance(error, ServiceError) else vars(error)


def _mark(error: Exception) -> None:
    if isinstance(error, ServiceError):
        error.metadata = {**error.metadata, RETRY_MARK: "exhausted"}
    else:
        vars(error)[RETRY_MARK] = "exhausted"
