"""How many calls at once a process can take, learned from how long they take."""

from __future__ import annotations

from math import inf, sqrt

#: A window is closed after so many calls and seconds at least, and lasts as long as a call does.
SAMPLES, WINDOW = 10, 0.1
#: How much of the way to its target the limit goes per window; what a look at a late loop leaves.
_STEP, _LAGGED = 0.2, 0.9
#: The most that the limit is asked to fall by in one window, before `_STEP`.
_STEEPEST = 0.5
#: How much a window of free capacity counts against all before it, and one that was made free.
_CALM, _PROBED = 0.1, 0.5
#: Seconds of steady use after which capacity is made free, to see what calls take without a queue.
PROBE_EVERY = 30.0
#: After a probe that took so much off the baseline the next one comes sooner: there may be more.
PROBE_AGAIN, _FELL = 1.0, 0.9
#: A probe allows this much less than would make calls wait, if the baseline were right.
_BELOW = 1.5


class ConcurrencyLimit:
    """A limit that follows the gradient between what calls take when there is room and take now.

    After Netflix's concurrency-limits (Gradient2): per window of calls the limit moves towards
    `limit * gradient + sqrt(limit)`, the gradient being `tolerance * baseline / latency`, between
    0.5 and 1. The square root is what it grows by, and the queue that it lets stand. Dropped calls
    take their share off the gradient. A window in which less than half of the limit was used says
    nothing about it, and leaves it alone.

    Unlike there, the baseline learns only while no queue can be ours: where half of the limit was
    free, where it is at its floor, or in a probe: after 30 s of steady use the limit is lowered to
    where nothing should wait, for two or three windows (as Envoy's adaptive concurrency and BBR).
    It looks sooner when the limit has halved since the baseline last learned: that may be wrong.
    A baseline that drifts with the overload that it should show would let latency grow for ever.

    The very first calls to end are the short ones, and often cold: their window teaches nothing.

    It is told the time, in seconds, and knows no clock. `floor <= limit <= ceiling` always.
    """

    __slots__ = (
        "_baseline",
        "_before_probe",
        "_closes",
        "_count",
        "_drops",
        "_lagged",
        "_limit",
        "_peak",
        "_probe_at",
        "_probe_below",
        "_settled",
        "_total",
        "ceiling",
        "floor",
        "latency",
        "tolerance",
    )

    def __init__(self, *, floor: int, ceiling: int, initial: int, tolerance: float) -> None:
        self.floor = floor
        self.ceiling = ceiling
        self.tolerance = tolerance
        self.latency = 0.0  #: the mean of the last window
        self._limit = float(initial)
        self._baseline = 0.0
        self._before_probe: float | None = None
        self._settled = False
        self._probe_at = inf
        self._probe_below = 0.0
        self._closes = -inf
        self._count = self._drops = self._peak = 0
        self._total = 0.0
        self._lagged = False

    @property
    def limit(self) -> int:
        """How many calls may run at once."""
        return int(self._limit)

    @property
    def baseline(self) -> float:
        """What calls take when there is room, in seconds; 0 before that was seen."""
        return self._baseline

    def completed(self, now: float, latency: float, in_flight: int) -> bool:
        """Count a call that ended by itself; say whether that closed a window.

        `in_flight` counts the call itself.
        """
        self._count += 1
        self._total += latency
        self._peak = max(self._peak, in_flight)
        if now < self._closes or self._count < SAMPLES:
            return False
        self._close(now)
        return True

    def dropped(self, now: float, in_flight: int) -> bool:
        """Count a call that ran out of time; say whether that closed a window."""
        self._count += 1
        self._drops += 1
        self._peak = max(self._peak, in_flight)
        if now < self._closes or self._count < SAMPLES:
            return False
        self._close(now)
        return True

    def lagged(self) -> None:
        """Take a tenth off since the event loop is late, and grow no more in this window."""
        self._lagged = True
        if self._before_probe is not None:
            self._before_probe *= _LAGGED
        self._set(self._limit * _LAGGED)

    def clamp(self) -> None:
        """Keep to a floor and a ceiling that were changed."""
        self._set(self._limit)

    def _close(self, now: float) -> None:
        timed = self._count - self._drops
        if timed:
            self.latency = self._total / timed
        if self._closes > -inf:
            self._judge(now)
        self._closes = now + max(WINDOW, self.latency)
        self._begin()

    def _judge(self, now: float) -> None:
        if self._before_probe is not None:
            self._probe(now, self._before_probe)
        elif self._peak * 2 < self._limit:
            self._learn(now, _CALM)
        else:
            self._follow(now)

    def _begin(self) -> None:
        self._count = self._drops = self._peak = 0
        self._total = 0.0
        self._lagged = False

    def _follow(self, now: float) -> None:
        """Move along the gradient, or begin a probe."""
        if not self._baseline:
            self._learn(now, _CALM)
            self._probe_at = now  # this was no free capacity: look at once
        elif self._limit <= self.floor:
            self._learn(now, _CALM)
        elif now >= self._probe_at or self._limit <= self._probe_below:
            self._before_probe, self._settled = self._limit, False
            self._set(self._limit / (_BELOW * self.tolerance))
            return
        target = self._limit * self._gradient() + (0.0 if self._lagged else sqrt(self._limit))
        self._set(self._limit + _STEP * (target - self._limit))

    def _gradient(self) -> float:
        enough, timed = self.tolerance * self._baseline, self._count - self._drops
        slower = enough / self.latency if 0 < enough < self.latency else 1.0
        return max(_STEEPEST, slower * timed / self._count)

    def _probe(self, now: float, before: float) -> None:
        """Let windows pass until those that were too many have left, learn, and go back."""
        if not self._settled:
            self._settled = self._peak <= self._limit
            return
        known = self._baseline
        self._learn(now, _PROBED)
        if self._baseline < known * _FELL:
            self._probe_at = now + PROBE_AGAIN
        self._before_probe = None
        self._set(before)
        self._probe_below = before / 2

    def _learn(self, now: float, weight: float) -> None:
        """Let the baseline follow a window in which no queue was ours."""
        self._probe_at = now + PROBE_EVERY
        self._probe_below = self._limit / 2
        if self._count > self._drops:
            known = self._baseline or self.latency
            self._baseline = known + weight * (self.latency - known)

    def _set(self, limit: float) -> None:
        self._limit = min(max(limit, self.floor), self.ceiling)
