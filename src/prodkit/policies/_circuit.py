"""The circuit of a breaker: a state machine that is told the time and knows no call."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

#: Parts into which the sampling duration is cut: the window moves on by a tenth at a time.
BUCKETS = 10


class State(Enum):
    """Where a circuit is."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    ISOLATED = "isolated"


#: Reading a member off its class is a Python call in CPython 3.11; every call reads three.
_CLOSED, _OPEN, _HALF_OPEN, _ISOLATED = State


class Window(Protocol):
    """What a closed circuit remembers of its calls."""

    threshold: float

    def succeeded(self, now: float) -> None:
        """Count a success."""

    def failed(self, now: float) -> float | None:
        """Count a failure; return what was measured if that reaches the threshold."""

    def clear(self) -> None:
        """Forget everything."""


class ConsecutiveFailures:
    """Trips on `threshold` failures with no success between them."""

    __slots__ = ("_failures", "threshold")

    def __init__(self, threshold: int) -> None:
        self.threshold: float = threshold
        self._failures = 0

    def succeeded(self, _now: float) -> None:
        """Start counting anew."""
        self._failures = 0

    def failed(self, _now: float) -> float | None:
        """Count a failure; return the count if that is enough."""
        self._failures += 1
        return self._failures if self._failures >= self.threshold else None

    def clear(self) -> None:
        """Start counting anew."""
        self._failures = 0


class FailureRatio:
    """Trips when `threshold` of the calls of the last `duration` seconds failed.

    A ring of `BUCKETS` buckets: the one that is filling and the full ones before it. Counting is
    one addition; the sums are brought up to date when a bucket begins. The ratio is looked at when
    a call fails and at least `minimum` calls ended.
    """

    __slots__ = (
        "_bucket",
        "_failed",
        "_failed_before",
        "_ring",
        "_succeeded",
        "_total_before",
        "_width",
        "minimum",
        "threshold",
    )

    def __init__(self, threshold: float, minimum: int, duration: float) -> None:
        self.threshold = threshold
        self.minimum = minimum
        self._width = duration / BUCKETS
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._bucket = 0
        self._ring = [(0, 0)] * BUCKETS  # (calls, failures) of each bucket
        self._total_before = self._failed_before = 0  # sums over the ring
        self._succeeded = self._failed = 0  # of the bucket that is filling

    def succeeded(self, now: float) -> None:
        """Count a success."""
        if now // self._width != self._bucket:
            self._turn(int(now // self._width))
        self._succeeded += 1

    def failed(self, now: float) -> float | None:
        """Count a failure; return the ratio if that reaches the threshold."""
        if now // self._width != self._bucket:
            self._turn(int(now // self._width))
        self._failed += 1
        failed = self._failed_before + self._failed
        total = self._total_before + self._succeeded + self._failed
        ratio = failed / total  # divided, since 3 / 30 >= 0.1 but 3 < 0.1 * 30
        return ratio if total >= self.minimum and ratio >= self.threshold else None

    def _turn(self, bucket: int) -> None:
        """Put the counts of the bucket that was filling into the ring and drop what is too old."""
        filled = (self._succeeded + self._failed, self._failed)
        self._put(self._bucket, filled)
        for passed in range(max(self._bucket + 1, bucket - BUCKETS + 1), bucket + 1):
            self._put(passed, (0, 0))
        self._bucket = bucket
        self._succeeded = self._failed = 0

    def _put(self, bucket: int, counts: tuple[int, int]) -> None:
        slot = bucket % BUCKETS
        before = self._ring[slot]
        self._ring[slot] = counts
        self._total_before += counts[0] - before[0]
        self._failed_before += counts[1] - before[1]


class Circuit:
    """CLOSED, OPEN, HALF_OPEN or ISOLATED, and the permits of those that may try.

    Whoever is admitted gets a ticket and hands it back with the result. Tickets are never reused:
    each change of state invalidates those given out before, so a late result changes nothing. A
    closed circuit gives the same ticket to all, a half-open one a ticket to each probe. All times
    are readings of one monotonic clock.
    """

    __slots__ = (
        "_passed",
        "_probe_timeout",
        "_probes",
        "_retry_at",
        "break_duration",
        "half_open_probes",
        "measured",
        "state",
        "ticket",
        "window",
    )

    def __init__(
        self,
        window: Window,
        *,
        break_duration: float,
        half_open_probes: int,
        probe_timeout: float,
    ) -> None:
        self.window = window
        self.state = _CLOSED
        self.ticket = 0
        self.measured = 0.0
        self.half_open_probes = half_open_probes
        self.break_duration = break_duration
        self._probe_timeout = probe_timeout
        self._probes: dict[int, float] = {}  # ticket -> admitted at, oldest first
        self._passed = 0
        self._retry_at = 0.0

    def admit(self, now: float) -> int | None:
        """Return a ticket, or None for a call that must not run."""
        if self.state is _CLOSED:
            return self.ticket
        if self.state is _OPEN and now >= self._retry_at:
            self._enter(_HALF_OPEN)
        if self.state is not _HALF_OPEN:
            return None
        self._revoke_stuck(now)
        if self.probes_out >= self.half_open_probes:
            return None
        self.ticket += 1
        self._probes[self.ticket] = now
        return self.ticket

    def succeeded(self, ticket: int, now: float) -> bool:
        """Count a success; return whether it closed the circuit."""
        if self.state is _CLOSED:
            if ticket == self.ticket:
                self.window.succeeded(now)
            return False
        if not self._take_back(ticket, now):
            return False
        self._passed += 1
        if self._passed < self.half_open_probes:
            return False
        self._enter(_CLOSED)
        return True

    def failed(self, ticket: int, now: float) -> bool:
        """Count a failure; return whether it opened the circuit."""
        if self.state is not _CLOSED:
            if not self._take_back(ticket, now):
                return False
        elif ticket != self.ticket:
            return False
        else:
            measured = self.window.failed(now)
            if measured is None:
                return False
            self.measured = measured
        self._enter(_OPEN)
        self._retry_at = now + self.break_duration
        return True

    def withdrawn(self, ticket: int) -> None:
        """Give back a ticket with nothing learned: the call was cancelled or did not run."""
        self._probes.pop(ticket, None)

    def isolate(self) -> None:
        """Admit nothing until `reset`."""
        self._enter(_ISOLATED)

    def reset(self) -> None:
        """Close with nothing remembered."""
        self.measured = 0.0
        self._enter(_CLOSED)

    @property
    def probes_out(self) -> int:
        """Permits in use: probes under way and probes that succeeded."""
        return len(self._probes) + self._passed

    def retry_after(self, now: float) -> float | None:
        """Return the seconds until a call that was just refused may be admitted, None if isolated.

        Half-open nobody knows when the probes end; a break's length is the honest guess, and no
        longer than until the oldest permit is revoked.
        """
        if self.state is _ISOLATED:
            return None
        if self.state is _OPEN:
            return self._retry_at - now
        oldest = next(iter(self._probes.values()))
        return min(self.break_duration, oldest + self._probe_timeout - now)

    def _take_back(self, ticket: int, now: float) -> bool:
        """Say whether `ticket` is a probe's that is not too late."""
        admitted = self._probes.pop(ticket, None)
        return admitted is not None and now - admitted < self._probe_timeout

    def _revoke_stuck(self, now: float) -> None:
        while self._probes:
            ticket, admitted = next(iter(self._probes.items()))
            if now - admitted < self._probe_timeout:
                return
            del self._probes[ticket]

    def _enter(self, state: State) -> None:
        self.state = state
        self.ticket += 1
        self._probes.clear()
        self._passed = 0
        self.window.clear()
