"""What is in flight in a process, and what is learned from it."""

from __future__ import annotations

from collections.abc import Callable

from prodkit.call import Call
from prodkit.clock import Clock
from prodkit.errors import FAILURE_CODES, Code, RejectedError, code_of
from prodkit.policies.load_shedder.lag import LoopLag
from prodkit.policies.load_shedder.limit import ConcurrencyLimit
from prodkit.policies.load_shedder.priority import SHARES, Priority

# An Enum's attributes are slow to reach.
_SHEDDABLE = Priority.SHEDDABLE
_OK, _CANCELLED, _LATE = Code.OK, Code.CANCELLED, Code.DEADLINE_EXCEEDED
#: Outcomes that tell nothing of load: what fails may fail fast, what is cancelled never ended.
_MUTE = (FAILURE_CODES | {_CANCELLED}) - {_LATE}


class Load:
    """The calls in flight, the limit that they teach, and the shares of it by priority.

    `shares[priority]` calls in flight are too many for one more of that priority. `on_turn` hears
    of the call with which a window of the limit closed.
    """

    __slots__ = ("in_flight", "lag", "lag_limit", "limit", "monotonic", "on_turn", "shares")

    def __init__(
        self,
        limit: ConcurrencyLimit,
        lag_limit: float,
        on_turn: Callable[[Call], None],
        clock: Clock,
    ) -> None:
        self.in_flight = 0
        self.limit = limit
        self.lag = LoopLag(lambda: self.in_flight > 0, self._looked, clock=clock)
        self.lag_limit = lag_limit
        self.monotonic = clock.monotonic
        self.on_turn = on_turn
        self.shares: list[int] = []
        self.share_out()

    def share_out(self) -> None:
        """Work out the shares anew."""
        limit, floor = self.limit.limit, self.limit.floor
        self.shares = [max(floor, int(limit * share)) for share in SHARES]
        if self.lag.lag > self.lag_limit:
            self.shares[_SHEDDABLE] = floor

    def _looked(self) -> None:
        if self.lag.lag > self.lag_limit:
            self.limit.lagged()
        self.share_out()


class Place:
    """What a call in flight holds, and gives back once: at its first message or at its end."""

    __slots__ = ("_began", "_call", "_load")

    def __init__(self, load: Load, call: Call) -> None:
        self._load = load
        self._call: Call | None = call
        self._began = now = load.monotonic()
        load.in_flight += 1
        if now >= load.lag.quiet_until:
            load.lag.watch(now)
        call.on_first_message(self.leave)

    def leave(self, error: BaseException | None = None) -> None:
        """Give the place back, and learn from the call that had it."""
        call = self._call
        if call is None:
            return
        self._call = None  # no cycle is left for the garbage collector
        load = self._load
        in_flight = load.in_flight
        load.in_flight = in_flight - 1
        code = _OK
        if error is not None or call.code is not _OK:
            code = _code(call, error)
            if code in _MUTE:
                return
        now = load.monotonic()
        if code is _LATE:
            turned = load.limit.dropped(now, in_flight)
        else:
            turned = load.limit.completed(now, now - self._began, in_flight)
        if turned:
            load.share_out()
            load.on_turn(call)


def _code(call: Call, error: BaseException | None) -> Code:
    """Return how the call ended; a refusal further in tells as little as a cancellation."""
    if error is None:
        return call.code
    return _CANCELLED if isinstance(error, RejectedError) else code_of(error)
