"""How late the event loop is: the wait before every call, which no call can measure."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from prodkit.clock import Clock, TimerHandle

#: Seconds between two looks: 20 wake-ups a second, 0.3 % of a processor on a loop idle otherwise.
INTERVAL = 0.05
#: A timer that is this many seconds late is not coming: its loop was closed.
_LOST = 10.0


class LoopLag:
    """Measures by a timer how much later than due the loop runs it; `lag` is in seconds.

    `lag` is the lower of the last two looks: a queue that stands is load, a single pause is not
    (as in CoDel, RFC 8289). So it is known 0.1 to 0.15 s after it began, on top of itself, and to
    about a millisecond (uvloop's timers have no finer grain).

    The timer runs while `busy()`, and ends by itself at most one interval later: there is no task
    to own and nothing to close. `watch` starts it; whoever calls compares `quiet_until` first.
    """

    __slots__ = (
        "_busy",
        "_clock",
        "_due",
        "_last",
        "_on_look",
        "_timer",
        "lag",
        "quiet_until",
    )

    def __init__(
        self, busy: Callable[[], bool], on_look: Callable[[], None], *, clock: Clock
    ) -> None:
        self._busy = busy
        self._on_look = on_look
        self._clock = clock
        self._due = 0.0
        self._last = 0.0
        self._timer: TimerHandle | None = None
        self.lag = 0.0
        self.quiet_until = -inf  #: before this reading of the clock there is no need to `watch`

    def watch(self, now: float) -> None:
        """Look every INTERVAL seconds from `now` on, until nobody is busy."""
        if self._timer is not None:
            self._timer.cancel()
        self._due = now + INTERVAL
        self.quiet_until = self._due + _LOST
        self._timer = self._clock.call_later(INTERVAL, self._look)

    def _look(self) -> None:
        now = self._clock.monotonic()
        late = max(0.0, now - self._due)
        self.lag, self._last = min(late, self._last), late
        self._timer = None
        if self._busy():
            self.watch(now)
        else:
            self.lag = self._last = 0.0
            self.quiet_until = -inf
        self._on_look()
