"""A clock that moves only when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

_NANOSECONDS = 1_000_000_000
#: Turns of the event loop that tasks get to come to rest; a wake-up takes two or three per layer.
_TURNS = 50


class ManualTimer:
    """A callback that waits for `ManualClock.advance`."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Call it off; harmless when it already ran."""
        self._callback = None

    def run(self) -> bool:
        """Run the callback, at most once; say whether there was one to run."""
        callback, self._callback = self._callback, None
        if callback is None:
            return False
        callback()
        return True


class ManualClock:
    """A `Clock` for tests: nothing waits, `await clock.advance(seconds)` makes time pass.

    Time is kept in whole nanoseconds, so that ten steps of 0.1 make one second. Wall time moves
    along and can be jumped by itself. What runs in threads or waits for sockets is not waited for.
    """

    def __init__(self, monotonic: float = 1000.0, wall: float = 1_700_000_000.0) -> None:
        self._now = round(monotonic * _NANOSECONDS)
        self._wall_ahead = round(wall * _NANOSECONDS) - self._now
        self._timers: list[tuple[int, int, ManualTimer]] = []
        self._order = count()

    def monotonic(self) -> float:
        """Return the seconds that `advance` has let pass, on top of the start."""
        return self._now / _NANOSECONDS

    def wall(self) -> float:
        """Return Unix time."""
        return (self._now + self._wall_ahead) / _NANOSECONDS

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back, as an operator or NTP does; no time passes."""
        self._wall_ahead += round(seconds * _NANOSECONDS)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> ManualTimer:
        """Run `callback` during the `advance` that reaches it, never before the next one."""
        timer = ManualTimer(callback)
        due = self._now + max(0, round(seconds * _NANOSECONDS))
        heappush(self._timers, (due, next(self._order), timer))
        return timer

    async def sleep(self, seconds: float) -> None:
        """Suspend the current task until `advance` has let `seconds` pass."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.Event()
        timer = self.call_later(seconds, woken.set)
        try:
            await woken.wait()
        finally:
            timer.cancel()

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: timers run in order, each at its time, and tasks after each."""
        if seconds < 0:
            raise ValueError(f"seconds must not be negative, not {seconds!r}")
        end = self._now + round(seconds * _NANOSECONDS)
        await self.settle()
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heappop(self._timers)
            self._now = max(self._now, due)
            if timer.run():
                await self.settle()
        self._now = max(self._now, end)
        await self.settle()

    async def settle(self) -> None:
        """Let the other tasks run until they wait; no time passes."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
