"""Background work as components: every interval, or as long as the service runs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from prodkit.clock import SYSTEM_CLOCK, Clock, seconds

_log = structlog.get_logger("prodkit.workers")


class Worker:
    """Runs `fn` every `interval` seconds, or once and for as long as it likes if there is none.

    `jitter` is the share of the interval by which each pause varies, so that replicas do not meet.
    An error is logged and `fn` tried again after `backoff_initial` seconds, twice as long after
    each further one, `backoff_max` at most. An `essential` worker instead ends the service at the
    first error, and a long-running one also if it returns. To be seen in traces and metrics, give
    it a function under a pipeline: `Worker("prices", pipeline(refresh_prices), interval=60)`.
    """

    def __init__(
        self,
        name: str,
        fn: Callable[[], Awaitable[object]],
        *,
        interval: float | None = None,
        jitter: float = 0.1,
        essential: bool = False,
        backoff_initial: float = 1.0,
        backoff_max: float = 60.0,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = random.random,
    ) -> None:
        if not 0 <= jitter <= 1:
            raise ValueError(f"jitter must be between 0 and 1, not {jitter!r}")
        self.name = name
        self._fn = fn
        self._interval = None if interval is None else seconds("interval", interval)
        self._jitter = jitter
        self._essential = essential
        self._backoff_initial = seconds("backoff_initial", backoff_initial)
        self._backoff_max = seconds("backoff_max", backoff_max)
        self._clock = clock
        self._random = random
        self._stopping = False
        self._turn = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin the first run; it is not waited for."""
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name=f"worker {self.name}")

    def wake(self) -> None:
        """Begin the next run now, or right after the one under way."""
        self._turn.set()

    async def stop(self, grace: float) -> None:
        """Let a periodic run under way end within `grace` seconds; a long-running one is cancelled.

        What it died of, if it died, is `wait`'s to tell.
        """
        task = self._task
        if task is None:
            return
        self._stopping = True
        self._turn.set()
        if self._interval is None:
            task.cancel()
        handle = self._clock.call_later(grace, lambda: _cancel(task))
        try:
            await asyncio.wait([task])
        finally:
            handle.cancel()
            task.cancel()
            await asyncio.wait([task])

    async def wait(self) -> None:
        """Return when an essential worker ended by itself, raise what it died of.

        Any other worker is waited for in vain: it comes back, or its work is done.
        """
        if self._task is None or not self._essential:
            await asyncio.Event().wait()
        else:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    async def _run(self) -> None:
        failures = 0
        while not self._stopping:
            self._turn.clear()  # here, so that a wake during the run is not lost
            try:
                await self._fn()
                failures = 0
            except Exception as error:
                if self._essential:
                    raise
                failures += 1
                _log.error("worker failed", worker=self.name, failures=failures, exc_info=error)
            else:
                if self._interval is None:
                    _log.info("worker finished", worker=self.name)
                    return
            await self._pause(failures)

    async def _pause(self, failures: int) -> None:
        """Wait for the next turn, or for the order to stop."""
        if failures:
            pause = min(self._backoff_max, self._backoff_initial * 2 ** min(failures - 1, 30))
        else:
            pause = self._interval or 0.0
        pause *= 1 + self._jitter * (2 * self._random() - 1)
        if self._stopping:
            return
        handle = self._clock.call_later(pause, self._turn.set)
        try:
            await self._turn.wait()
        finally:
            handle.cancel()


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
