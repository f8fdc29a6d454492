"""Time as a dependency: the clock that policies are given, and the alarm that ends a task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from prodkit.errors import ConfigurationError, ServiceError
from prodkit.options import implementation


class TimerHandle(Protocol):
    """Something scheduled that can still be called off."""

    def cancel(self) -> None:
        """Call it off; harmless when it already ran."""


class Clock(Protocol):
    """Everything prodkit asks of time. All durations are seconds."""

    def monotonic(self) -> float:
        """Return a reading that never goes back; the base of every deadline in the process."""

    def wall(self) -> float:
        """Return Unix time, for stamps that leave the process, never for measuring."""

    async def sleep(self, seconds: float) -> None:
        """Suspend the current task."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        """Run `callback` once after `seconds`."""


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    sleep = staticmethod(asyncio.sleep)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        """Run `callback` once after `seconds` on the running loop."""
        return asyncio.get_running_loop().call_later(seconds, callback)


SYSTEM_CLOCK: Clock = SystemClock()


def checked_clock(value: Clock) -> Clock:
    """Return `value` if it has every method of Clock; else ConfigurationError."""
    return value if value is SYSTEM_CLOCK else implementation("clock", value, Clock)


class Alarm:
    """Cancels the current task after a while, and tells that cancellation from anybody else's.

    One object and one timer handle: no context manager, nothing awaited.
    Use: `alarm = Alarm(clock, seconds)`; `try: ... except CancelledError: if alarm.rang(): ...
    else: raise`; `finally: alarm.stop()`. Where many take the same time, `prodkit.alarms` has
    cheaper ones.
    """

    __slots__ = ("_asked", "_cancelling", "_fired", "_handle", "_task")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._begin()
        self._handle: TimerHandle | None = clock.call_later(seconds, self.ring)

    def _begin(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an Alarm needs a running asyncio task")
        self._task = task
        self._cancelling = task.cancelling()
        self._fired = False
        self._asked = False

    def ring(self) -> None:
        """Cancel the task."""
        self._fired = True
        self._task.cancel()

    def disarm(self) -> None:
        """Let it ring no more; a ring under way still ends the task. Any task may call this."""
        if self._handle is not None:
            self._handle.cancel()

    def stop(self) -> None:
        """Call the alarm off, and take its cancellation back where nobody asked for it."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None  # it holds the context, which holds the call, which may hold us
        self._settle()

    def _settle(self) -> None:
        if self._fired and not self._asked:
            self._asked = True
            self._task.uncancel()

    def rang(self) -> bool:
        """Say whether the CancelledError in hand is this alarm's alone, and take it back if so.

        Ask once, in the `except CancelledError` branch. Somebody else's cancellation that came
        together with the alarm wins, as in `asyncio.timeout`.
        """
        if not self._fired or self._asked:
            return False
        self._asked = True
        return self._task.uncancel() <= self._cancelling


#: Durations in seconds that mean something: machines count nanoseconds, and nobody waits longer.
_SHORTEST, _LONGEST = 1e-9, 1e15


def seconds(option: str, value: float | timedelta) -> float:
    """Return `value` in seconds if it is positive and finite; else name the option.

    From a nanosecond to 30 million years: beyond them numbers round to 0, or to infinity.
    """
    length = value.total_seconds() if isinstance(value, timedelta) else value
    number = isinstance(length, int | float) and not isinstance(length, bool)
    if not number or not 0 < length < float("inf"):
        raise ConfigurationError(f"{option} must be a positive number of seconds, not {value!r}")
    if not _SHORTEST <= length <= _LONGEST:
        raise ConfigurationError(
            f"{option} must be from {_SHORTEST:g} to {_LONGEST:g} seconds, not {length!r:.20}"
        )
    return float(length)


#: Seconds. A callee that asks for more is asked again then: no number parks anything for years.
LONGEST_WAIT = 86400.0


def wait_asked(error: BaseException) -> float:
    """Return the seconds that `error` asks to wait: 0 where it asks for none, a day at most."""
    asked = error.retry_after if isinstance(error, ServiceError) else None
    return 0.0 if asked is None else min(LONGEST_WAIT, max(0.0, asked))
