"""Several services in one process: one order of start, one owner of signals, one exit."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, NoReturn, Protocol

import structlog

from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.errors import ConfigurationError
from prodkit.holding import only_warned
from prodkit.service.component import Component, Parts, State
from prodkit.service.health import Health
from prodkit.service.lifecycle import Lifecycle

if TYPE_CHECKING:
    from prodkit.service.service import Service

_log = structlog.get_logger("prodkit.platform")

#: A process that is still there so long after its drain should have ended is stuck in a thread.
_STUCK = 2.0


class Console(Component, Protocol):
    """The admin server, as the platform sees it: `admin.Admin`."""

    def attach(self, health: Health, drain: Callable[[str], None]) -> None:
        """Learn what to show and what to trigger."""


class Platform:
    """Runs `services` together; the order of dependency holds across all of them.

    All resources come up first, then all internal servers, and so on; a resource that several
    services share starts once and closes once. `health` gathers the checks of all services, named
    `service.check` where there are several. `admin` is up before everything else and goes last.
    Durations are seconds.

    `freeze`: in `run`, what is there when the process is ready (modules, routes, descriptors) is
    not looked at again by the garbage collector: a full collection would find nothing in it, and
    hold up the event loop for a microsecond or two for each object. Requests cost what they cost.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        health: Health | None = None,
        admin: Console | None = None,
        drain_delay: float = 3.0,
        drain_timeout: float = 20.0,
        start_timeout: float = 60.0,
        freeze: bool = True,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        _check_names(services)
        parts = merge(service.parts for service in services)
        self.health = self._gathered(services, health, clock)
        self._healths = {id(h): h for h in (self.health, *(s.health for s in services))}.values()
        if admin is not None:
            parts = replace(parts, resources=[admin, *parts.resources])
            admin.attach(self.health, self.drain)
        self._limit = drain_delay + drain_timeout + _STUCK
        self._signals = 0
        self._freeze = freeze
        self._owns_process = False
        self._production = any(s.settings.environment == "production" for s in services)
        self._lifecycle = Lifecycle(
            parts,
            drain_delay=drain_delay,
            drain_timeout=drain_timeout,
            start_timeout=start_timeout,
            on_state=self._enter,
            clock=clock,
        )

    @property
    def state(self) -> State:
        """Where the process is."""
        return self._lifecycle.state

    def drain(self, reason: str) -> None:
        """Go down in order, as SIGTERM asks."""
        self._lifecycle.drain(reason)

    async def serve(self) -> int:
        """Start, serve until asked to drain, stop; return the exit code. Signals are left alone."""
        try:
            return await self._lifecycle.run()
        finally:
            for health in self._healths:
                await health.close()

    def run(self) -> NoReturn:
        """Be the process: serve on a loop of our own, answer signals, exit.

        SIGTERM or SIGINT drains, a second one cuts the drain, a third one kills. Uses uvloop where
        the extra `server` brought it. In production a remote call inside a transaction is logged
        instead of refused. Raises SystemExit with 0 after a clean drain, else with 1
        or 2, as `Lifecycle.run` says.
        """
        with ExitStack() as process:
            if self._production:
                process.enter_context(only_warned())
            runner = process.enter_context(asyncio.Runner(loop_factory=_loop_factory()))
            code = runner.run(self._main())
        raise SystemExit(code)

    async def _main(self) -> int:
        self._owns_process = True
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            return await self.serve()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        self._signals += 1
        if self._signals == 1:
            self._lifecycle.drain(number.name)
        else:
            self._lifecycle.cut(f"second {number.name}")
            loop = asyncio.get_running_loop()
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def _watch_over_exit(self) -> None:
        """See that a thread that never ends, or a blocked loop, cannot keep the process."""
        watchdog = threading.Timer(self._limit, _leave)
        watchdog.daemon = True
        watchdog.start()

    def _enter(self, state: State) -> None:
        if state is State.DRAINING and self._owns_process:
            self._watch_over_exit()
        if state is State.READY and self._owns_process and self._freeze:
            gc.collect()  # or garbage would be kept for ever
            gc.freeze()
        for health in self._healths:
            health.enter(state)

    @staticmethod
    def _gathered(services: Sequence[Service], health: Health | None, clock: Clock) -> Health:
        if len(services) == 1 and health is None:
            return services[0].health
        gathered = health or Health(clock=clock)
        for service in services:
            prefix = f"{service.name}." if len(services) > 1 else ""
            gathered.add(*(replace(c, name=prefix + c.name) for c in service.checks))
        return gathered


def merge(all_parts: Iterable[Parts]) -> Parts:
    """Join parts kind by kind; what several share is there once, where it came first."""
    every = list(all_parts)
    return Parts(
        _once(c for parts in every for c in parts.resources),
        _once(c for parts in every for c in parts.servers),
        _once(c for parts in every for c in parts.consumers),
        _once(c for parts in every for c in parts.workers),
        _once(c for parts in every for c in parts.telemetry),
    )


def _once(components: Iterable[Component]) -> list[Component]:
    return list({id(component): component for component in components}.values())


def _check_names(services: Sequence[Service]) -> None:
    names = [service.name for service in services]
    if not names or len(set(names)) != len(names):
        raise ConfigurationError(f"a platform needs services with names of their own, not {names}")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop


def _leave() -> None:
    _log.critical("exit forced", reason="something did not end with the drain")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
