"""Tasks with an owner, and loops that are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from prodkit._tasks import complete
from prodkit.clock import Clock
from prodkit.errors import AbortedError, UnavailableError


async def end(tasks: Collection[asyncio.Task[Any]], grace: float) -> None:
    """Give `tasks` `grace` seconds, then cancel what still runs; return when all have ended.

    Being cancelled cuts the grace short. What tasks died of stays with them.
    """
    try:
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
    finally:
        late = [task for task in tasks if not task.done()]
        for task in late:
            task.cancel()
        if late:
            await complete(_all(late))


async def _all(tasks: Collection[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks)


class Wakeable:
    """A pause that can be cut short."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = asyncio.Event()

    def wake(self) -> None:
        """End the pause under way, or the next one."""
        self._event.set()

    async def pause(self, seconds: float) -> None:
        """Wait `seconds`, or until somebody calls `wake`."""
        timer = self._clock.call_later(seconds, self._event.set)
        try:
            await self._event.wait()
        finally:
            timer.cancel()
            self._event.clear()


class Loop:
    """A background loop: `turn` runs again and again, and says how long to pause in between.

    While something it needs is away (UnavailableError), or when somebody else was faster
    (AbortedError), it tries again after `away` seconds; any other exception ends the loop, and
    `wait` raises it, for a loop that died must not go unnoticed.
    """

    def __init__(
        self, name: str, turn: Callable[[], Awaitable[float]], *, clock: Clock, away: float = 1.0
    ) -> None:
        self._name = name
        self._turn = turn
        self._away = away
        self._pause = Wakeable(clock)
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task; the loop may be started again after it was stopped."""
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name=self._name)

    def wake(self) -> None:
        """Have the next turn begin now."""
        self._pause.wake()

    async def wait(self) -> None:
        """Return when the loop was stopped; raise what it died of."""
        if self._task is not None:
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.result()

    async def stop(self, grace: float) -> None:
        """Let the turn under way end within `grace` seconds, then cancel it; await it either way.

        What the loop died of is `wait`'s to tell.
        """
        self._stopping = True
        self.wake()
        if self._task is not None:
            await end({self._task}, grace)

    async def _run(self) -> None:
        while not self._stopping:
            try:
                pause = await self._turn()
            except (UnavailableError, AbortedError):
                pause = self._away
            if pause > 0 and not self._stopping:
                await self._pause.pause(pause)
