"""Load shedder: refuse at once what could only be answered late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, TypeVar

from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock, checked_clock, seconds
from prodkit.errors import ConfigurationError, OverloadedError
from prodkit.events import Event
from prodkit.options import factor, function, whole_number
from prodkit.pipeline import Next
from prodkit.policies.load_shedder.limit import WINDOW, ConcurrencyLimit
from prodkit.policies.load_shedder.load import Load, Place
from prodkit.policies.load_shedder.priority import Priority, default_priority
from prodkit.traits import Trait

T = TypeVar("T")
_EXEMPT = Priority.EXEMPT  # an Enum's attributes are slow to reach
#: A limit that moved by this part since it was last told is told again.
_NOTABLE = 0.2


@dataclass(frozen=True, slots=True)
class CallShed(Event):
    """A call did not run: `in_flight` others did, `limit` is what its priority may use."""

    priority: Priority
    in_flight: int
    limit: int
    lag: float
    retry_after: float


@dataclass(frozen=True, slots=True)
class LimitChanged(Event):
    """The limit moved by a fifth or more since this was last told; `latency` is in seconds."""

    level: ClassVar[str] = "info"

    before: int
    limit: int
    latency: float
    lag: float


class LoadShedder:
    """Refuses calls with OverloadedError when more are in flight than this process can take.

    The limit is learned (see ConcurrencyLimit): it falls when calls take more than `tolerance`
    times as long as with room to spare, when they miss their deadline, and while the event loop is
    later than `lag_limit` seconds (see LoopLag); it grows while it is used and calls are fast.
    `priority` says who is refused first (see Priority). `floor` calls at once are always admitted,
    whatever was learned; they are how it finds out that things are better. Sharing one object
    between the doors of a process is right: they share its loop.

    Failures, refusals further in and cancelled calls tell nothing of load and teach nothing; missed
    deadlines do. A stream counts until its first message leaves: what holds a place to its end is
    a Bulkhead. Put it outermost but for Observe, before what costs: a refusal should be cheap.
    Inbound only. It belongs to one event loop. Raises ConfigurationError for options out of range.

    `retry_after` is the time in which those in flight will be done, more or less.
    """

    __slots__ = ("_limit", "_load", "_priority", "_told")

    traits = Trait.SHEDS

    def __init__(
        self,
        *,
        floor: int = 10,
        ceiling: int = 1000,
        initial: int = 100,
        tolerance: float = 1.5,
        lag_limit: float | timedelta = 0.05,
        priority: Callable[[Call], Priority] = default_priority,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        _check(floor, ceiling, tolerance)
        if not whole_number("initial", initial, at_least=floor) <= ceiling:
            raise ConfigurationError(
                f"initial must be at most ceiling ({ceiling}), not {initial!r}"
            )
        self._limit = ConcurrencyLimit(
            floor=floor, ceiling=ceiling, initial=initial, tolerance=tolerance
        )
        self._load = Load(
            self._limit, seconds("lag_limit", lag_limit), self._tell, checked_clock(clock)
        )
        self._priority = function("priority", priority)
        self._told = initial

    @property
    def in_flight(self) -> int:
        """How many calls are counted now."""
        return self._load.in_flight

    @property
    def limit(self) -> int:
        """How many calls may be in flight now."""
        return self._limit.limit

    @property
    def lag(self) -> float:
        """How late the event loop is, in seconds; 0 while nothing is in flight."""
        return self._load.lag.lag

    def reconfigure(
        self,
        *,
        floor: int | None = None,
        ceiling: int | None = None,
        tolerance: float | None = None,
        lag_limit: float | timedelta | None = None,
    ) -> None:
        """Change what is given; what was learned stays, within the new bounds."""
        limit = self._limit
        floor = limit.floor if floor is None else floor
        ceiling = limit.ceiling if ceiling is None else ceiling
        tolerance = limit.tolerance if tolerance is None else tolerance
        _check(floor, ceiling, tolerance)
        if lag_limit is not None:
            self._load.lag_limit = seconds("lag_limit", lag_limit)
        limit.floor, limit.ceiling, limit.tolerance = floor, ceiling, tolerance
        limit.clamp()
        self._load.share_out()

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        """Let `call` proceed if there is room for its priority, and learn from how it ends."""
        priority = self._priority(call)
        if priority is _EXEMPT:
            return await proceed(call)
        load = self._load
        if type(priority) is not Priority:
            raise ConfigurationError(f"priority must return a Priority, not {priority!r}")
        if load.in_flight >= load.shares[priority]:
            raise self._refusal(call, priority)
        place = Place(load, call)
        try:
            result = await proceed(call)
        except BaseException as error:
            place.leave(error)
            raise
        place.leave()
        return result

    def _tell(self, call: Call) -> None:
        before, limit = self._told, self._limit.limit
        if abs(limit - before) >= _NOTABLE * before:
            self._told = limit
            call.emit(LimitChanged("load_shedder", before, limit, self._limit.latency, self.lag))

    def _refusal(self, call: Call, priority: Priority) -> OverloadedError:
        in_flight, share, lag = self.in_flight, self._load.shares[priority], self.lag
        retry_after = max(WINDOW, self._limit.latency) + lag
        self._tell(call)
        call.emit(CallShed("load_shedder", priority, in_flight, share, lag, retry_after))
        return OverloadedError(
            f"{in_flight} calls are in flight, and a call of priority {priority.name} must be one "
            f"of {share} at most",
            call=call,
            policy="load_shedder",
            measured=in_flight,
            threshold=share,
            retry_after=retry_after,
        )

    def __repr__(self) -> str:
        limit = self._limit
        return (
            f"LoadShedder({limit.limit} at once, {limit.floor} to {limit.ceiling}, "
            f"tolerance {limit.tolerance:g}, lag limit {self._load.lag_limit:g} s)"
        )


def _check(floor: int, ceiling: int, tolerance: float) -> None:
    whole_number("floor", floor)
    whole_number("ceiling", ceiling, at_least=floor)
    factor("tolerance", tolerance)
