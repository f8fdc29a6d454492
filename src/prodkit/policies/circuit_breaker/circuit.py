"""The circuit of a breaker: a state machine that is told the time and knows no call."""

from __future__ import annotations

from enum import Enum

from prodkit.policies.circuit_breaker.options import Options
from prodkit.policies.circuit_breaker.windows import ConsecutiveFailures, FailureRatio


class State(Enum):
    """Where a circuit is."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    ISOLATED = "isolated"


class Change(Enum):
    """What can happen to a circuit."""

    OPENED = "opened"
    HALF_OPENED = "half_opened"
    CLOSED = "closed"
    ISOLATED = "isolated"
    RESET = "reset"


#: Reading a member off its class is a Python call in CPython 3.11; every call reads three.
_CLOSED, _OPEN, _HALF_OPEN, _ISOLATED = State


class Circuit:
    """CLOSED, OPEN, HALF_OPEN or ISOLATED, and the permits of those that may try.

    Whoever is admitted gets a ticket and hands it back with the result. Tickets are never reused:
    each change of state invalidates those given out before, so a late result changes nothing. A
    closed circuit gives the same ticket to all, a half-open one a ticket to each probe. All times
    are readings of one monotonic clock.

    There is no timer: what one would have done is made up for when a call comes or ends. What
    changed waits in `untold` until somebody takes it.
    """

    __slots__ = (
        "_failures",
        "_passed",
        "_probes",
        "last_break",
        "measured",
        "options",
        "retry_at",
        "slow",
        "slow_calls",
        "state",
        "threshold",
        "ticket",
        "untold",
    )

    def __init__(self, options: Options) -> None:
        self.options = options
        self.state = _CLOSED
        self.ticket = 0
        self.untold: tuple[Change, ...] = ()
        self.measured = self.threshold = 0.0  # what it opened on
        self.slow = False  # and whether slow calls were measured, not failures
        self.last_break = 0.0  # how long it is or was open; 0: not since it closed
        self.retry_at = 0.0  # when a break ends
        self._probes: dict[int, float] | None = None  # ticket -> admitted at, oldest first
        self._passed = 0
        self._failures: ConsecutiveFailures | FailureRatio = (
            _ratio(options, options.failure_ratio)
            if options.consecutive_failures is None
            else ConsecutiveFailures(options.consecutive_failures)
        )
        self.slow_calls = (
            None if options.slow_call_duration is None else _ratio(options, options.slow_call_ratio)
        )

    def admit(self, now: float) -> int | None:
        """Return a ticket, or None for a call that must not run."""
        if self.state is _CLOSED:
            return self.ticket
        if self._probes:
            self._give_up_on_hung(now)
        if self.state is _OPEN and now >= self.retry_at:
            self._enter(_HALF_OPEN, Change.HALF_OPENED)
            self._probes = {}
        if self._probes is None or self.probes_out >= self.options.half_open_probes:
            return None
        self.ticket += 1
        self._probes[self.ticket] = now
        return self.ticket

    def succeeded(self, ticket: int, now: float, slow: bool = False) -> None:
        """Count a success; a probe's that was slow is a failure."""
        if self.state is _CLOSED:
            if ticket == self.ticket:
                self._failures.succeeded(now)
                if self.slow_calls is not None:
                    self._count_time(self.slow_calls, now, slow)
        elif self._take_back(ticket, now):
            if slow:
                self._open(now)
            else:
                self._passed += 1
                self._close_if_all_passed()

    def failed(self, ticket: int, now: float, slow: bool = False) -> None:
        """Count a failure."""
        if self.state is not _CLOSED:
            if self._take_back(ticket, now):
                self._open(now)
        elif ticket == self.ticket:
            measured = self._failures.failed(now)
            if measured is not None:
                self._trip(now, measured, self._failures.threshold, slow=False)
            elif self.slow_calls is not None:
                self._count_time(self.slow_calls, now, slow)

    def withdrawn(self, ticket: int) -> None:
        """Give back a ticket with nothing learned: the call was cancelled or did not run."""
        if self._probes is not None:
            self._probes.pop(ticket, None)

    def isolate(self) -> None:
        """Admit nothing until `reset`."""
        if self.state is not _ISOLATED:
            self.untold = ()  # if nobody came to take it, it is no news any more
            self._enter(_ISOLATED, Change.ISOLATED)
            self.measured = self.threshold = 0.0

    def open_until(self, retry_at: float) -> None:
        """Open as others decided, who share it; calls may try from `retry_at` on."""
        self.retry_at = retry_at
        self._enter(_OPEN, Change.OPENED)

    def reset(self) -> None:
        """Close with nothing remembered."""
        if self.state is _CLOSED:
            self._forget()
        else:
            self.untold = ()
            self._enter(_CLOSED, Change.RESET)

    def reconfigure(self, options: Options) -> None:
        """Go on under other options of the same kind; a break under way keeps its length."""
        self.options = options
        if isinstance(self._failures, FailureRatio):
            _change(self._failures, options, options.failure_ratio)
        else:
            self._failures.threshold = options.consecutive_failures or self._failures.threshold
        if self.slow_calls is not None:
            _change(self.slow_calls, options, options.slow_call_ratio)
        elif options.slow_call_duration is not None:
            self.slow_calls = _ratio(options, options.slow_call_ratio)
        self._close_if_all_passed()

    @property
    def probes_out(self) -> int:
        """Permits in use: probes under way and probes that succeeded."""
        return len(self._probes or ()) + self._passed

    def retry_after(self, now: float) -> float | None:
        """Return the seconds until a call that was just refused may be admitted, None if isolated.

        Half-open nobody knows when the probes end; a break's length is the honest guess.
        """
        if self.state is _OPEN:
            return self.retry_at - now
        return None if self.state is _ISOLATED else self.last_break

    def _count_time(self, window: FailureRatio, now: float, slow: bool) -> None:
        if not slow:
            window.succeeded(now)
            return
        measured = window.failed(now)
        if measured is not None:
            self._trip(now, measured, window.threshold, slow=True)

    def _take_back(self, ticket: int, now: float) -> bool:
        """Say whether `ticket` is a probe's that is not too late."""
        self._give_up_on_hung(now)
        return self._probes is not None and self._probes.pop(ticket, None) is not None

    def _give_up_on_hung(self, now: float) -> None:
        """Open, as of then, if the oldest probe took too long: so hung ones hold nothing up."""
        if self._probes:
            too_late = next(iter(self._probes.values())) + self.options.probe_timeout
            if now >= too_late:
                self._open(too_late)

    def _close_if_all_passed(self) -> None:
        if self._passed >= self.options.half_open_probes:
            self._enter(_CLOSED, Change.CLOSED)

    def _trip(self, now: float, measured: float, threshold: float, *, slow: bool) -> None:
        self.measured, self.threshold, self.slow = measured, threshold, slow
        self.last_break = 0.0
        self._open(now)

    def _open(self, now: float) -> None:
        self.last_break = self.options.break_after(self.last_break)
        self.retry_at = now + self.last_break
        self._enter(_OPEN, Change.OPENED)

    def _enter(self, state: State, change: Change) -> None:
        self.state = state
        self.untold += (change,)
        self._forget()

    def _forget(self) -> None:
        self.ticket += 1
        self._probes = None
        self._passed = 0
        self._failures.clear()
        if self.slow_calls is not None:
            self.slow_calls.clear()


def _ratio(options: Options, threshold: float) -> FailureRatio:
    return FailureRatio(threshold, options.minimum_throughput, options.sampling_duration)


def _change(window: FailureRatio, options: Options, threshold: float) -> None:
    window.change(threshold, options.minimum_throughput, options.sampling_duration)
