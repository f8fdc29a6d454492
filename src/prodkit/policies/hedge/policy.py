"""The policy: which calls are hedged, when, and how many."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeVar

from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock, checked_clock, seconds
from prodkit.errors import (
    FAILURE_CODES,
    Code,
    ConfigurationError,
    RejectedError,
    add_note,
    code_of,
)
from prodkit.options import function, whole_number
from prodkit.pipeline import Next
from prodkit.policies._budget import Budget, RetryBudget, checked_budget
from prodkit.policies.hedge.events import HedgeSent, HedgeWithheld, HedgeWon
from prodkit.policies.hedge.latency import LatencyPercentile
from prodkit.policies.hedge.race import Attempt, Race
from prodkit.traits import Trait

T = TypeVar("T")

#: What another attempt may answer better: that the callee is ill, is full, or gave up.
_NO_ANSWER: Final = FAILURE_CODES | {Code.RESOURCE_EXHAUSTED, Code.CANCELLED}
#: Operations with a latency of their own; those beyond share one.
_OPERATIONS: Final = 100


def default_is_failure(call: Call, error: Exception | None) -> bool:
    """Say whether an attempt that ended so is worth waiting for another one.

    An answer like NOT_FOUND is as good from one attempt as from another, and wins.
    """
    if error is None:
        return call.code in _NO_ANSWER
    return isinstance(error, RejectedError) or code_of(error) in _NO_ANSWER


class Hedge:
    """Sends another attempt when the first takes longer than most do; the first good one wins.

    (Dean and Barroso, "The Tail at Scale".) It waits for the `percentile` of the latencies that it
    measured in the last `sampling_duration`, for each operation by itself, within `delay_min` and
    `delay_max`; for `delay` until `minimum_throughput` calls were measured. At 0.95 a twentieth of
    the calls is hedged while all is well; `budget` bounds what that costs when it is not: a tenth
    of the calls and one a second by default. At most `max_hedges` more attempts run beside the
    first, each after a further wait.

    A failed attempt (`is_failure`) does not win while another may still answer, and is followed by
    no further one, whatever the callee asked for: repeating failures is for a Retry outside of
    this. Losers are cancelled and awaited before the call returns, and so is everything when the
    call itself is cancelled. When all attempts failed, the failure of the first that ran comes
    back.

    Only a call that may be repeated is hedged, as in Retry; the attempts may even run to their end
    side by side, so a key helps only where the callee keeps keys. Outbound only, never a stream.
    Put a Timeout inside, for each attempt, and a breaker: losers do not count in it. The trap: a
    callee that is slow because it is full gets more to do; let it refuse, and mind the budget.
    """

    __slots__ = (
        "_budget",
        "_clock",
        "_delay",
        "_delay_max",
        "_delay_min",
        "_is_failure",
        "_latencies",
        "_max_hedges",
        "_minimum",
        "_others",
        "_percentile",
        "_window",
    )

    traits = Trait.REPEATS | Trait.CONCURRENT

    def __init__(
        self,
        *,
        percentile: float = 0.95,
        delay: float | timedelta = 0.5,
        delay_min: float | timedelta = 0.001,
        delay_max: float | timedelta = 5.0,
        max_hedges: int = 1,
        minimum_throughput: int = 50,
        sampling_duration: float | timedelta = 30.0,
        budget: Budget | None = None,
        is_failure: Callable[[Call, Exception | None], bool] = default_is_failure,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._window = seconds("sampling_duration", sampling_duration)
        self._set(percentile, delay, delay_min, delay_max, max_hedges, minimum_throughput)
        self._latencies: dict[str, LatencyPercentile] = {}
        self._others = LatencyPercentile(self._percentile, self._window)
        self._budget = checked_budget(budget, RetryBudget(0.1, 1.0))
        self._is_failure = function("is_failure", is_failure)
        self._clock = checked_clock(clock)

    def _set(
        self,
        percentile: float,
        delay: float | timedelta,
        delay_min: float | timedelta,
        delay_max: float | timedelta,
        max_hedges: int,
        minimum_throughput: int,
    ) -> None:
        shortest, longest = seconds("delay_min", delay_min), seconds("delay_max", delay_max)
        if longest < shortest:
            raise ConfigurationError(f"delay_max must not be below delay_min, as {delay_max!r} is")
        options = (
            _share("percentile", percentile),
            seconds("delay", delay),
            whole_number("max_hedges", max_hedges),
            whole_number("minimum_throughput", minimum_throughput),
        )
        self._percentile, self._delay, self._max_hedges, self._minimum = options
        self._delay_min, self._delay_max = shortest, longest

    def reconfigure(
        self,
        *,
        percentile: float | None = None,
        delay: float | timedelta | None = None,
        delay_min: float | timedelta | None = None,
        delay_max: float | timedelta | None = None,
        max_hedges: int | None = None,
        minimum_throughput: int | None = None,
    ) -> None:
        """Change what is given for the calls that come from now on; what was measured stays."""
        self._set(
            self._percentile if percentile is None else percentile,
            self._delay if delay is None else delay,
            self._delay_min if delay_min is None else delay_min,
            self._delay_max if delay_max is None else delay_max,
            self._max_hedges if max_hedges is None else max_hedges,
            self._minimum if minimum_throughput is None else minimum_throughput,
        )
        for latency in (self._others, *self._latencies.values()):
            latency.ask(self._percentile)

    @property
    def slow_after(self) -> float:
        """The seconds after which a call is hedged while nothing was measured."""
        return self._delay

    def delay_of(self, operation: str) -> float:
        """Return the seconds after which a call of `operation` would be hedged now."""
        return self._wait(self._latency(operation))

    async def __call__(self, call: Call, proceed: Next[T]) -> T:
        """Let `call` proceed, and again beside itself where it is slow and that is allowed."""
        if not call.repeatable:
            return await proceed(call)
        budget = self._budget
        if not isinstance(budget, RetryBudget):
            budget = budget(call)
        budget.calls += 1
        latency = self._latency(call.operation)
        delay = self._wait(latency)
        race = Race(
            call,
            proceed,
            delay=delay,
            hedges=self._max_hedges,
            may_send=lambda attempt: self._may_send(call, budget, attempt, delay),
            is_failure=self._is_failure,
            clock=self._clock,
        )
        try:
            best = await race.run()
        finally:
            first = race.attempts[0]
            # A fast failure says nothing of latency; what was cut short took at least so long.
            if first.good or race.first_took >= delay:
                latency.record(race.first_took, self._clock.monotonic())
        return self._answer(call, race, best)

    def _may_send(self, call: Call, budget: RetryBudget, attempt: int, delay: float) -> bool:
        now = self._clock.monotonic()
        why = None
        if call.deadline is not None and now >= call.deadline:
            why = "the deadline comes first"
        elif not budget.withdraw(now):
            why = "the hedge budget is used up"
        call.emit(
            HedgeSent("hedge", attempt, delay) if why is None else HedgeWithheld("hedge", why)
        )
        return why is None

    @staticmethod
    def _answer(call: Call, race: Race[T], best: Attempt[T]) -> T:
        call.adopt(best.call)
        if best is race.winner and best is not race.attempts[0]:
            call.emit(HedgeWon("hedge", best.call.attempt))
        error = best.error
        if isinstance(error, RejectedError) and all(a.refused for a in race.attempts):
            error.call = call  # no attempt of it ran: then it did not run
        elif error is not None and len(race.attempts) > 1:
            which = f"attempt {best.call.attempt}, one of {len(race.attempts)}"
            add_note(error, f"Hedge: this was {which}")
        return best.hand_back()

    def _latency(self, operation: str) -> LatencyPercentile:
        latency = self._latencies.get(operation)
        if latency is None:
            if len(self._latencies) >= _OPERATIONS:
                return self._others
            latency = LatencyPercentile(self._percentile, self._window)
            self._latencies[operation] = latency
        return latency

    def _wait(self, latency: LatencyPercentile) -> float:
        measured = latency.value(self._clock.monotonic(), self._minimum)
        if measured is None:
            return self._delay
        return min(max(self._delay_min, measured), self._delay_max)

    def __repr__(self) -> str:
        return (
            f"Hedge(p{self._percentile * 100:g} or {self._delay:g} s, "
            f"within {self._delay_min:g} to {self._delay_max:g} s, {self._max_hedges} more at most)"
        )


def _share(option: str, value: float) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < 1:
        raise ConfigurationError(f"{option} must be above 0 and below 1, not {value!r}")
    return value
