"""Adaptive throttle: send no more to an overloaded backend than a little above what it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import random as system_random
from typing import TypeVar

from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock, checked_clock, seconds
from prodkit.errors import Code, RejectedError, ThrottledError, code_of
from prodkit.events import Event
from prodkit.options import checked_name, factor, function, share, whole_number
from prodkit.pipeline import Next
from prodkit.policies._verdict import judged_once
from prodkit.policies.adaptive_throttle.counts import BUCKETS, Counts
from prodkit.traits import Trait

T = TypeVar("T")
_OK, _CANCELLED = Code.OK, Code.CANCELLED  # an Enum's attributes are slow to reach
#: How a backend says that it is asked too much: in words, or by not answering in time.
_OVERLOAD_CODES = frozenset({Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED})
#: What `call.status` is where the code comes after the messages: in an RPC, in a websocket.
_SAID_LAST = (0, 101)


@dataclass(frozen=True, slots=True)
class CallThrottled(Event):
    """A call was refused with `probability`: of `requests` in the window, `accepts` were taken."""

    name: str
    requests: int
    accepts: int
    probability: float


def default_is_accepted(call: Call, error: Exception | None) -> bool:
    """Say whether the backend took this call on: it did unless it said, or showed, overload.

    RESOURCE_EXHAUSTED, UNAVAILABLE and DEADLINE_EXCEEDED are not accepted. A call that failed in
    the backend's code (INTERNAL, UNKNOWN) is: sending less would not mend that. That is a breaker's
    part.
    """
    return (call.code if error is None else code_of(error)) not in _OVERLOAD_CODES


class AdaptiveThrottle:
    """Refuses calls with ThrottledError by chance, so that a backend gets what it can take.

    Client-side throttling after "Handling Overload" (Site Reliability Engineering, chapter 21). Of
    the requests of the last `window` seconds some were accepted; a call is refused with probability
    (requests - ratio x accepts) / (requests + 1). So the backend gets about `ratio` times what it
    accepts: 2 wastes some of its work and notices soon when it can take more; 1.1 is gentle, and
    slow. What is refused here counts among the requests. One object a target; each process learns
    for itself. For what goes out, inside of Retry. Against a breaker: it never closes a target
    altogether, and suits one that is busy rather than broken.

    Below `minimum_throughput` requests in the window nothing is refused. And never is it more than
    `max_rejection_probability`, which is ours, not the book's: without it, at 1,000 calls a second,
    a target that came back after five minutes away would be refused calls for three minutes more,
    since so few tell that it is back; at 0.95 it is seventy seconds (about two windows; with the
    book's window of 120 s, fourteen minutes and four and a half).

    What `is_accepted` tells of an ended call counts; calls that were cancelled, or that a policy
    further in refused, count neither as request nor as accepted; nor do those still under way. A
    stream is counted at its first message. `retry_after` is a tenth of the window: before that the
    odds hardly change. Options out of range raise ConfigurationError.
    """

    __slots__ = (
        "_counts",
        "_is_accepted",
        "_max_probability",
        "_minimum",
        "_monotonic",
        "_random",
        "_ratio",
        "name",
    )

    traits = Trait.BREAKS

    def __init__(
        self,
        name: str,
        *,
        ratio: float = 2.0,
        window: float | timedelta = 30.0,
        minimum_throughput: int = 20,
        max_rejection_probability: float = 0.95,
        is_accepted: Callable[[Call, Exception | None], bool] = default_is_accepted,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = system_random,
    ) -> None:
        self.name = checked_name(name)
        self._ratio = factor("ratio", ratio)
        self._minimum = whole_number("minimum_throughput", minimum_throughput)
        self._max_probability = share("max_rejection_probability", max_rejection_probability)
        self._counts = Counts(seconds("window", window) / BUCKETS)
        self._is_accepted = function("is_accepted", is_accepted)
        self._monotonic = checked_clock(clock).monotonic
        self._random = function("random", random)

    def reconfigure(
        self,
        *,
        ratio: float | None = None,
        minimum_throughput: int | None = None,
        max_rejection_probability: float | None = None,
    ) -> None:
        """Change options for the calls from now on; what was counted stays. None keeps one."""
        new_ratio = self._ratio if ratio is None else factor("ratio", ratio)
        minimum = (
            self._minimum
            if minimum_throughput is None
            else whole_number("minimum_throughput", minimum_throughput)
        )
        if max_rejection_probability is not None:
            self._max_probability = share("max_rejection_probability", max_rejection_probability)
        self._ratio, self._minimum = new_ratio, minimum

    @property
    def probability(self) -> float:
        """The chance that a call which comes now is refused."""
        self._counts.move(self._monotonic())
        return self._probability()

    def _probability(self) -> float:
        requests, accepts = self._counts.requests, self._counts.accepts
        if requests < self._minimum:
            return 0.0
        excess = (requests - self._ratio * accepts) / (requests + 1)
        return min(self._max_probability, max(0.0, excess))

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        """Let `call` proceed, or refuse it by chance; and learn from how it ends."""
        counts = self._counts
        if counts.requests > self._ratio * counts.accepts:
            self._admit(call)
        if call.streaming:
            return await judged_once(call, proceed, partial(self._judge, call))
        try:
            result = await proceed(call)
        except Exception as error:
            self._ended(call, error)
            raise
        if self._is_accepted is default_is_accepted and call.code is _OK:
            counts.count(1, self._monotonic())
        else:
            self._ended(call, None)
        return result

    def _admit(self, call: Call) -> None:
        counts, now = self._counts, self._monotonic()
        counts.move(now)
        probability = self._probability()
        if not probability or self._random() >= probability:
            return
        requests, accepts = counts.requests, counts.accepts
        counts.count(0, now)
        call.emit(CallThrottled("adaptive_throttle", self.name, requests, accepts, probability))
        raise ThrottledError(
            f"the throttle {self.name!r} refuses {probability:.0%} of the calls: "
            f"of {requests} lately, {accepts} were accepted",
            call=call,
            policy="adaptive_throttle",
            measured=accepts / requests,
            threshold=1 / self._ratio,
            retry_after=counts.width,
        )

    def _ended(self, call: Call, error: Exception | None) -> None:
        if call.streaming:  # its first message has left: that it was accepted is known
            error = None
            if call.status in _SAID_LAST:
                self._counts.count(1, self._monotonic())
                return
        self._judge(call, error)

    def _judge(self, call: Call, error: Exception | None) -> None:
        code = call.code if error is None else code_of(error)
        if code is _CANCELLED or (isinstance(error, RejectedError) and error.refuses(call)):
            return
        self._counts.count(1 if self._is_accepted(call, error) else 0, self._monotonic())

    def __repr__(self) -> str:
        window = self._counts.width * BUCKETS
        return f"AdaptiveThrottle({self.name!r}, ratio {self._ratio:g} over {window:g} s)"
