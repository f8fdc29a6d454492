"""A world of its own for each scenario: time passes only where everybody sleeps.

An hour of break takes a millisecond, a thousand callers arrive in the same instant, and every run
is the same. Libraries that can be given a clock get this one; for the others the clocks of the
machine are replaced, in this process and while a scenario runs. The wall clock can be set apart.
"""

from __future__ import annotations

import asyncio
import importlib
import random
import selectors
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, tzinfo
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest.mock import patch

T = TypeVar("T")

#: Who keeps a name of its own for a clock, and which.
_DATETIMES = (
    "aiobreaker.circuitbreaker",
    "aiobreaker.state",
    "cashews.decorators.cache.soft",
    "cashews.decorators.circuit_breaker",
    "cashews.decorators.rate_slide",
    "hyx.circuitbreaker.states",
    "pybreaker",
)
#: Seconds of the machine's time after which a scenario in which nobody moves is given up.
_PATIENCE = 1.0
#: What a turn of the event loop takes; who waits for the next instant must get there.
_TURN = 1e-6


class StandstillError(Exception):
    """Everybody waits, and nothing will ever wake anybody."""


class World:
    """The time of one scenario; also a `prodkit.clock.Clock`."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._ahead = 1_700_000_000.0 - self._now

    def monotonic(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now + self._ahead

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, callback)

    def pass_time(self, seconds: float) -> None:
        self._now += seconds

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back; no time passes."""
        self._ahead += seconds

    def run(self, scenario: Callable[[World], Awaitable[T]]) -> T:
        """Run a scenario from beginning to end and return what it found."""
        random.seed(1)
        with self._clocks(), asyncio.Runner(loop_factory=lambda: _Loop(self)) as runner:
            return runner.run(_plain(scenario, self))

    @contextmanager
    def _clocks(self) -> Iterator[None]:
        calendar = _calendar(self)
        with ExitStack() as stack:
            stack.enter_context(patch.object(time, "time", self.wall))
            stack.enter_context(patch.object(time, "monotonic", self.monotonic))
            for name in _DATETIMES:
                if name in sys.modules:
                    module = importlib.import_module(name)
                    stack.enter_context(patch.object(module, "datetime", calendar))
            if "circuitbreaker" in sys.modules:
                module = sys.modules["circuitbreaker"]
                stack.enter_context(patch.object(module, "monotonic", self.monotonic))
            if "backoff._async" in sys.modules:
                module = sys.modules["backoff._async"]
                kept = SimpleNamespace(datetime=calendar)
                stack.enter_context(patch.object(module, "datetime", kept))
            yield


async def _plain(scenario: Callable[[World], Awaitable[T]], world: World) -> T:
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    return await scenario(world)


def _calendar(world: World) -> type[datetime]:
    class Calendar(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.fromtimestamp(world.wall(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return datetime.fromtimestamp(world.wall(), UTC).replace(tzinfo=None)

    return Calendar


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Lets the time pass that the loop would have waited."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def select(self, timeout: float | None = None) -> list[Any]:
        ready: list[Any] = super().select(0)
        self._world.pass_time(_TURN)
        if ready or timeout == 0:
            return ready
        if timeout is not None:
            self._world.pass_time(timeout)
            return ready
        ready = super().select(_PATIENCE)  # a thread may still answer
        if not ready:
            raise StandstillError
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, world: World) -> None:
        super().__init__(_Selector(world))
        self._world = world

    def time(self) -> float:
        return self._world.monotonic()
