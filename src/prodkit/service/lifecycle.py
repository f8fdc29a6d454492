"""How a process comes up and goes down: phases by dependency, one deadline, an honest exit code."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Collection, Sequence
from math import inf
from typing import Any

import structlog

from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.errors import ConfigurationError, DeadlineExceededError, UnavailableError
from prodkit.service.component import Component, Parts, State

__all__ = ["Component", "Lifecycle", "Parts", "State"]

_log = structlog.get_logger("prodkit.lifecycle")

#: What may follow the drain deadline, in seconds after it: cancelled work ends, telemetry leaves,
#: resources close. A process is gone one second after its deadline.
_CANCELLED, _FLUSHED, _CLOSED = 0.4, 0.7, 1.0
#: How long a collector that does not answer may hold up the exit.
_FLUSH_LIMIT = 5.0
#: The exit code of a process that cannot start as it is configured: to try again is no use.
UNFIT = 2
#: These say all in their message when a start fails of them (a port in use, a database away, a
#: wrong password); of others the stack is wanted too.
_PLAIN = (OSError, ConfigurationError, UnavailableError, DeadlineExceededError)


class Lifecycle:
    """Runs `parts` from start to exit; `run()` returns the exit code.

    On `drain()`: readiness is withdrawn, serving goes on for `drain_delay` seconds while routers
    take notice, then everything ends by dependency within `drain_timeout` seconds, one deadline
    for all of it. `cut()` makes that deadline now. `start_timeout` bounds each component's start,
    `on_state` hears each change of state.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        drain_delay: float = 3.0,
        drain_timeout: float = 20.0,
        start_timeout: float = 60.0,
        on_state: Callable[[State], None] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.state = State.STARTING
        self._parts = parts
        self._drain_delay = drain_delay
        self._drain_timeout = drain_timeout
        self._start_timeout = start_timeout
        self._on_state = on_state
        self._clock = clock
        self._started: list[Component] = []
        self._watchers: dict[int, asyncio.Task[None]] = {}
        self._asked = asyncio.Event()
        self._wake: Callable[[], None] = _nothing
        self._deadline = inf
        self._hurried = False
        self._failed = False
        self._unfit = False

    def drain(self, reason: str) -> None:
        """Begin to go down, in order; asking again changes nothing."""
        if not self._asked.is_set():
            _log.info("drain asked for", reason=reason)
            self._asked.set()
            self._wake()

    def cut(self, reason: str) -> None:
        """End at once: what still runs is cancelled and awaited, resources close."""
        _log.warning("drain cut", reason=reason)
        self._asked.set()
        self._hurried = self._failed = True
        self._deadline = min(self._deadline, self._clock.monotonic())
        self._wake()

    async def run(self) -> int:
        """Start, serve until asked to drain, stop.

        The exit code is 0 for a clean drain; 2 if a part did not start for a ConfigurationError,
        which a supervisor need not try again; 1 if one failed to start for another reason, died,
        failed to stop or was cut. Cancelling `run` cuts.
        """
        try:
            if await self._start():
                self._enter(State.READY)
                await self._asked.wait()
            await self._stop()
        except asyncio.CancelledError:
            self.cut("cancelled")
            await self._stop()
            raise
        return UNFIT if self._unfit else int(self._failed)

    async def _start(self) -> bool:
        self._enter(State.STARTING)
        parts = self._parts
        for stage, components in (
            ("telemetry", parts.telemetry),
            ("resources", parts.resources),
            ("internal servers", parts.internal),
            ("consumers", parts.consumers),
            ("workers", parts.workers),
            ("edge servers", parts.edges),
        ):
            began = self._clock.monotonic()
            for component in components:
                if self._asked.is_set() or not await self._start_one(component):
                    return False
            self._report("started", stage, components, began)
        return not self._asked.is_set()

    async def _start_one(self, component: Component) -> bool:
        task = asyncio.create_task(component.start(), name=f"start {component.name}")
        try:
            await self._wait([task], self._clock.monotonic() + self._start_timeout)
        finally:
            ended = task.done()
            await _cancelled([task])
        if not ended:
            self._failed = self._failed or not self._asked.is_set()
            _log.error("start given up", component=component.name, limit=self._start_timeout)
            return False
        error = None if task.cancelled() else task.exception()
        if error is not None or task.cancelled():
            self._failed = True
            self._unfit = isinstance(error, ConfigurationError)
            stack = None if isinstance(error, _PLAIN) else error
            _log.error("start failed", component=component.name, error=_said(error), exc_info=stack)
            return False
        self._started.append(component)
        if hasattr(component, "wait"):
            self._watchers[id(component)] = asyncio.create_task(self._watch(component))
        return True

    async def _watch(self, component: Any) -> None:
        error: Exception | None = None
        try:
            await component.wait()
        except Exception as caught:  # noqa: BLE001  # whatever it died of ends the service
            error = caught
        if component not in self._started:  # it was told to stop
            return
        self._failed = True
        _log.error("component died", component=component.name, exc_info=error)
        self.drain(f"{component.name} died")

    async def _stop(self) -> None:
        """Take down what is up; called again after a cancellation it goes on where it was."""
        serving = self.state is State.READY
        self._enter(State.DRAINING)
        if serving:
            await self._announce()
        self._deadline = min(self._deadline, self._clock.monotonic() + self._drain_timeout)
        parts = self._parts
        await self._end("edge servers", parts.edges)
        await self._end("workers and consumers", [*parts.workers, *parts.consumers])
        await self._end("internal servers", parts.internal)
        await self._flush_telemetry()
        for resource in reversed(parts.resources):
            await self._end("resources", [resource], overtime=_CLOSED, limit=_CLOSED)
        self._enter(State.STOPPED)

    async def _announce(self) -> None:
        """Tell every server, then serve on: routers learn of it a second or two later."""
        until = self._clock.monotonic() + self._drain_delay
        tasks = [
            asyncio.create_task(_call(component.quiesce), name=f"quiesce {component.name}")
            for component in self._started
            if hasattr(component, "quiesce")
        ]
        await self._wait(tasks, until)
        await _cancelled(tasks)
        for task in tasks:
            _log_failure("quiesce failed", task)
        await self._wait([], until)

    async def _end(
        self,
        stage: str,
        components: Sequence[Component],
        *,
        overtime: float = 0.0,
        limit: float = _CANCELLED,
    ) -> None:
        """Stop together those of `components` that run; cancel what outlives deadline + `limit`.

        `overtime` is what their grace may exceed the deadline by.
        """
        running = [component for component in components if component in self._started]
        if not running:
            return
        began = self._clock.monotonic()
        self._started = [component for component in self._started if component not in running]
        grace = max(0.0, self._deadline + overtime - began)
        tasks = [asyncio.create_task(c.stop(grace), name=f"stop {c.name}") for c in running]
        try:
            await self._wait(tasks, self._deadline + limit)
        finally:
            cut = [task.get_name() for task in tasks if not task.done()]
            watchers = [w for c in running if (w := self._watchers.pop(id(c), None))]
            await _cancelled([*tasks, *watchers])
        broken = [task for task in tasks if _log_failure("stop failed", task)]
        late = self._clock.monotonic() >= self._deadline + overtime
        self._failed = bool(self._failed or late or cut or broken)
        self._report("stopped", stage, running, began, cut=cut)

    async def _flush_telemetry(self) -> None:
        """Let spans and lines out; what a collector does not take is no fault of the service."""
        running = [part for part in self._parts.telemetry if part in self._started]
        if not running:
            return
        began = self._clock.monotonic()
        until = min(self._deadline + _FLUSHED, began + _FLUSH_LIMIT)
        self._started = [part for part in self._started if part not in running]
        grace = max(0.0, until - began)
        tasks = [asyncio.create_task(p.stop(grace), name=f"flush {p.name}") for p in running]
        try:
            await self._wait(tasks, until)
        finally:
            late = [task.get_name() for task in tasks if not task.done()]
            await _cancelled(tasks)
        for task in tasks:
            _log_failure("telemetry not flushed", task)
        if late:
            _log.warning("telemetry not flushed in time", late=late)
        self._report("flushed", "telemetry", running, began)

    async def _wait(self, tasks: Collection[asyncio.Task[Any]], until: float) -> None:
        """Return when all `tasks` are done, the clock reads `until`, or somebody is in a hurry."""
        if (tasks and all(task.done() for task in tasks)) or (self._hurried and not tasks):
            return
        woken = asyncio.get_running_loop().create_future()

        def wake(_: object = None) -> None:
            if not woken.done():
                woken.set_result(None)

        def done(_: object) -> None:
            if all(task.done() for task in tasks):
                wake()

        for task in tasks:
            task.add_done_callback(done)
        handle = self._clock.call_later(max(0.0, until - self._clock.monotonic()), wake)
        self._wake = wake
        try:
            await woken
        finally:
            self._wake = _nothing
            handle.cancel()

    def _enter(self, state: State) -> None:
        self.state = state
        _log.info(state.value)
        if self._on_state is not None:
            self._on_state(state)

    def _report(
        self, event: str, stage: str, components: Sequence[Component], began: float, **figures: Any
    ) -> None:
        if components:
            seconds = round(self._clock.monotonic() - began, 3)
            names = [component.name for component in components]
            _log.info(event, stage=stage, components=names, seconds=seconds, **figures)


def _nothing() -> None:
    """Nobody waits."""


def _said(error: BaseException | None) -> str:
    """Return what an error says to operators: its note, if it has one, knows more."""
    notes: list[str] = getattr(error, "__notes__", [])
    return notes[0] if notes else str(error)


async def _call(function: Callable[[], object]) -> None:
    result = function()
    if inspect.isawaitable(result):
        await result


async def _cancelled(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel those of `tasks` that still run, and see all of them ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def _log_failure(event: str, task: asyncio.Task[Any]) -> bool:
    """Say whether `task` failed, and log of what."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _log.error(event, task=task.get_name(), exc_info=error)
    return error is not None
