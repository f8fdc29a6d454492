"""Alarms that all take the same time: set and stopped by the thousand, with one timer for all."""

from __future__ import annotations

from asyncio import AbstractEventLoop, get_running_loop
from contextvars import Context

from prodkit.clock import Alarm, Clock

#: Seconds by which readings of a clock may differ for want of digits.
_ROUNDING = 1e-6


class Alarms:
    """Sets alarms that ring `seconds` after they were set, and hence in that order.

    Nearly all alarms are stopped long before they ring. A timer of the event loop for each would
    cost more than all the rest of a policy; here one timer waits for the oldest, and another alarm
    is an entry in a dict. It works in any event loop, in several of them too.
    """

    __slots__ = ("_clock", "_place", "seconds")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.seconds = seconds
        self._clock = clock
        # One attribute: loops of several threads come here, and none may take another's row.
        self._place: tuple[AbstractEventLoop | None, _Row] = (None, _Row(clock))

    def set(self, end: float) -> Alarm:
        """Set one for the current task; `end`, `seconds` from now by the clock, is when it rings.

        Use it as `Alarm` says.
        """
        running = get_running_loop()
        loop, row = self._place
        if loop is not running:
            row = _Row(self._clock)
            self._place = (running, row)
        alarm = _RowAlarm(row)
        row.waiting[alarm] = end
        if not row.armed:
            row.arm(self.seconds)
        return alarm


class _Row:
    """The alarms of one event loop that wait, the oldest first; `armed`: a timer waits for it."""

    __slots__ = ("_clock", "armed", "waiting")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.waiting: dict[_RowAlarm, float] = {}
        self.armed = False

    def arm(self, seconds: float) -> None:
        self.armed = True
        # In no context: the timer may outlive by far the call that set it, and would keep it.
        Context().run(self._clock.call_later, seconds, self._ring)

    def _ring(self) -> None:
        self.armed = False
        now = self._clock.monotonic()
        due = []
        for alarm, end in self.waiting.items():
            if end > now + _ROUNDING:
                self.arm(end - now)
                break
            due.append(alarm)
        for alarm in due:
            del self.waiting[alarm]
            alarm.ring()


class _RowAlarm(Alarm):
    """An alarm without a timer of its own."""

    __slots__ = ("_row",)

    def __init__(self, row: _Row) -> None:
        self._begin()
        self._row = row

    def disarm(self) -> None:
        self._row.waiting.pop(self, None)

    def stop(self) -> None:
        self._row.waiting.pop(self, None)
        self._settle()
