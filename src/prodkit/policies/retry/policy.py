"""The policy: when another attempt is made, and how a call ends that had several."""

from __future__ import annotations

import random as _random
from collections.abc import Callable
from datetime import timedelta
from sys import exception as being_handled
from typing import TypeVar

from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock, checked_clock
from prodkit.errors import Code
from prodkit.options import function, whole_number
from prodkit.pipeline import Next
from prodkit.policies._budget import Budget, RetryBudget, checked_budget
from prodkit.policies.retry.backoff import Backoff, Strategy
from prodkit.policies.retry.events import RetriesExhausted, RetryScheduled
from prodkit.policies.retry.failures import Failures, On
from prodkit.policies.retry.outcome import MARKS, Outcome, is_marked, mark, mark_answer
from prodkit.traits import Trait

T = TypeVar("T")
_OK = Code.OK


class Retry:
    """Repeats failures that `on` names: exception types, codes, both, or a predicate.

    Only a call that may be repeated is: one that is declared safe (`call.safe`) or carries an
    idempotency key; any other runs once. Outbound only, never a stream (doors refuse it at bind).
    At most `attempts` in all (3: a third repeat hardly ever helps and always costs), each repeat
    paid for from `budget`: a RetryBudget of its own by default, one shared with others, or one for
    each target (KeyedRetryBudget). `backoff` and the `wait_` options say how long it waits: see
    Backoff. A callee that asks for `retry_after` gets it; one that asks for more than `wait_max`,
    or for less than zero (gRPC's "do not"), is not asked again. Nothing starts that could not end
    before `call.deadline`.

    A code names exceptions (`code_of`) and results alike (`call.code`, which a door sets from the
    wire). That a policy further in refused this very call is repeated only if `on` names
    RejectedError or a class below it: whoever refused asked for less load. That a call made on
    our behalf was refused counts as UNAVAILABLE. Cancellation is never repeated.

    In the end the failure comes back as it was, with a note. One that was given up is marked
    (`RETRY_MARK`), and so is the answer to the call that is being served: a Retry further up lets
    them pass, translated (`raise ... from`) or in a group too, and only the hop next to the failure
    repeats. That takes a hop that is given the time
    to end by itself: a Timeout further up should outlast all attempts and waits down here.
    A repeat that was refused does not hide that an earlier attempt ran: that one is raised.
    """

    __slots__ = ("_attempts", "_backoff", "_budget", "_clock", "_failures", "_random")

    traits = Trait.REPEATS

    def __init__(
        self,
        *,
        on: On,
        attempts: int = 3,
        backoff: Strategy = "decorrelated",
        wait_initial: float | timedelta = 0.1,
        wait_max: float | timedelta = 5.0,
        wait_jitter: float = 1.0,
        budget: Budget | None = None,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._failures = Failures(on)
        self._attempts = whole_number("attempts", attempts)
        self._backoff = Backoff(
            backoff, wait_initial=wait_initial, wait_max=wait_max, wait_jitter=wait_jitter
        )
        self._budget = checked_budget(budget, RetryBudget())
        self._clock = checked_clock(clock)
        self._random = function("random", random)

    @property
    def attempts(self) -> int:
        """How often a call may run in all."""
        return self._attempts

    @property
    def exceptions(self) -> tuple[type[Exception], ...]:
        """The exception types that `on` names."""
        return self._failures.types

    @property
    def longest_wait(self) -> float:
        """The seconds of all its own waits at most; a callee may ask for longer ones."""
        return self._backoff.longest(self._attempts - 1)

    def reconfigure(
        self,
        *,
        on: On | None = None,
        attempts: int | None = None,
        backoff: Strategy | None = None,
        wait_initial: float | timedelta | None = None,
        wait_max: float | timedelta | None = None,
        wait_jitter: float | None = None,
    ) -> None:
        """Change what is given, for the attempts that end from now on; the budget has its own."""
        old = self._backoff
        failures = self._failures if on is None else Failures(on)
        number = self._attempts if attempts is None else whole_number("attempts", attempts)
        self._backoff = Backoff(
            old.strategy if backoff is None else backoff,
            wait_initial=old.wait_initial if wait_initial is None else wait_initial,
            wait_max=old.wait_max if wait_max is None else wait_max,
            wait_jitter=old.wait_jitter if wait_jitter is None else wait_jitter,
        )
        self._failures, self._attempts = failures, number

    async def __call__(self, call: Call, proceed: Next[T]) -> T:
        """Let `call` proceed, and again where that is allowed and may help."""
        budget = self._budget
        if not isinstance(budget, RetryBudget):
            budget = budget(call)
        budget.calls += 1
        handled, marks = being_handled(), MARKS.made
        try:
            result = await proceed(call)
        except Exception as error:
            if not self._would_repeat(call, error, handled, marks):
                raise
            ended: Outcome[T] = Outcome(call, error, None)
        else:
            if call.code is _OK and self._failures.predicate is None:
                return result
            if not self._would_repeat(call, None, handled, marks):
                return result
            ended = Outcome(call, None, result)
        return await self._repeat(call, proceed, ended, budget)

    async def _repeat(
        self, call: Call, proceed: Next[T], ended: Outcome[T], budget: RetryBudget
    ) -> T:
        """Go on after a first attempt that failed; `ran` is how the last one that ran ended."""
        ran, attempt, waits = ended, 1, self._backoff.waits(self._random)
        while True:
            pause = max(next(waits), ended.retry_after or 0.0)
            why = self._forbids(call, ended, attempt, pause, budget)
            if why is None:
                call.emit(RetryScheduled("retry", attempt, ended.code, pause))
                await self._clock.sleep(pause)
                why = self._too_late(call, 0.0)
            if why is not None:
                return self._give_up(call, ran, attempt, why)
            attempt += 1
            marks = MARKS.made
            ended = await self._try_again(call, proceed, attempt)
            if not ended.refused:
                ran = ended
            if not self._would_repeat(call, ended.error, being_handled(), marks):
                if ended.refused:
                    return self._give_up(call, ran, attempt, "the last attempt was refused")
                return ended.hand_back(call, f"Retry: this was attempt {attempt}")

    @staticmethod
    async def _try_again(call: Call, proceed: Next[T], attempt: int) -> Outcome[T]:
        call.attempt, call.code, call.retry_after = attempt, _OK, None
        try:
            result = await proceed(call)
        except Exception as error:  # noqa: BLE001 - it is raised again, here or by the last attempt
            return Outcome(call, error, None)
        return Outcome(call, None, result)

    def _would_repeat(
        self, call: Call, error: Exception | None, handled: BaseException | None, marks: int
    ) -> bool:
        if error is not None and is_marked(error, handled, marks):
            mark_answer()  # further up it must be known too
            return False
        if not call.repeatable:
            return False
        return self._failures.name(call, error)

    def _forbids(
        self, call: Call, ended: Outcome[T], attempt: int, pause: float, budget: RetryBudget
    ) -> str | None:
        """Say why there is no further attempt, or take its price from the budget."""
        asked = ended.retry_after or 0.0
        if attempt >= self._attempts:
            return "no attempts left"
        if asked < 0:
            return "the callee asked not to repeat"
        if asked > self._backoff.wait_max:
            return f"the callee asked for {asked:g} s, more than wait_max"
        late = self._too_late(call, pause)
        if late is None and not budget.withdraw(self._clock.monotonic()):
            return "the retry budget is used up"
        return late

    def _too_late(self, call: Call, pause: float) -> str | None:
        if call.deadline is None or self._clock.monotonic() + pause < call.deadline:
            return None
        return "the deadline comes first"

    @staticmethod
    def _give_up(call: Call, ran: Outcome[T], attempts: int, why: str) -> T:
        call.emit(RetriesExhausted("retry", attempts, ran.code, why))
        mark_answer()
        if ran.error is not None:
            mark(ran.error)
        return ran.hand_back(call, f"Retry: gave up after {_attempts(attempts)}: {why}")

    def __repr__(self) -> str:
        return f"Retry({self._failures.text}, {_attempts(self._attempts)}, {self._backoff})"


def _attempts(number: int) -> str:
    return f"{number} attempt{'s' * (number > 1)}"
