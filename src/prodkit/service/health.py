"""Health: dependency checks that cannot hang a probe, and the three routes that probes ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from prodkit.clock import SYSTEM_CLOCK, Alarm, Clock, seconds
from prodkit.errors import ConfigurationError
from prodkit.service.component import State

_log = structlog.get_logger("prodkit.health")
_HEADERS = {"cache-control": "no-store"}


class Status(Enum):
    """How a service or one of its dependencies is; degraded ones still serve."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True)
class Check:
    """Asks one dependency whether it is there: `fn` returns, or raises.

    `timeout` is in seconds. Without an `essential` dependency the service is not ready; without
    another one it is degraded, and serves.
    """

    name: str
    fn: Callable[[], Awaitable[object]]
    timeout: float = 1.0
    essential: bool = True

    def __post_init__(self) -> None:
        seconds("timeout", self.timeout)


@dataclass(frozen=True, slots=True)
class Result:
    """What a check last found; `error` is a word (`timeout`, `failed`, `unknown`), no details."""

    status: Status
    duration: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All results at one moment, and what they mean together."""

    state: State
    results: dict[str, Result]
    status: Status = field(init=False)

    def __post_init__(self) -> None:
        found = {result.status for result in self.results.values()}
        worst = next((s for s in (Status.UNHEALTHY, Status.DEGRADED) if s in found), Status.HEALTHY)
        object.__setattr__(self, "status", worst)

    @property
    def ready(self) -> bool:
        """Whether traffic should come here."""
        return self.state is State.READY and self.status is not Status.UNHEALTHY


class Health:
    """The health of a process, for its probes.

    Checks run when somebody asks, together, each within its time limit; what they find is kept for
    `max_age` seconds, and however many ask, one check runs once at a time. An answer waits at most
    `patience` seconds: if a dependency hangs, it says what was known last, while the check goes on
    in the background. A check that has never ended counts as failed.
    """

    def __init__(
        self,
        checks: Iterable[Check] = (),
        *,
        max_age: float = 1.0,
        patience: float = 0.03,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.state = State.STARTING
        self._max_age = seconds("max_age", max_age)
        self._patience = seconds("patience", patience)
        self._clock = clock
        self._probes: dict[str, _Probe] = {}
        self.add(*checks)

    def add(self, *checks: Check) -> None:
        """Check these too; ConfigurationError if a name is taken."""
        for check in checks:
            if check.name in self._probes:
                raise ConfigurationError(f"two health checks are called {check.name!r}")
            self._probes[check.name] = _Probe(check, self._clock)

    def enter(self, state: State) -> None:
        """Hear from the lifecycle where it is."""
        self.state = state

    async def report(self) -> Report:
        """Return what is known now, after giving stale checks `patience` seconds."""
        running = [r for p in self._probes.values() if (r := p.refresh(self._max_age)) is not None]
        if running:
            await self._wait(running)
        return Report(self.state, {name: probe.result for name, probe in self._probes.items()})

    async def close(self) -> None:
        """Cancel the checks that run in the background, and await them."""
        await asyncio.gather(*(probe.close() for probe in self._probes.values()))

    def routes(self, prefix: str = "/health") -> list[Route]:
        """Return the routes `/health`, `/health/live` and `/health/ready` for a Starlette app."""
        return [
            Route(prefix, self._detail),
            Route(f"{prefix}/live", self._live),
            Route(f"{prefix}/ready", self._ready),
        ]

    async def _wait(self, running: list[asyncio.Task[None]]) -> None:
        """Return when all of `running` have ended, or patience has."""
        over = asyncio.get_running_loop().create_future()

        def end() -> None:
            if not over.done():
                over.set_result(None)

        def ended(_: object) -> None:
            if all(task.done() for task in running):
                end()

        for task in running:
            task.add_done_callback(ended)
        handle = self._clock.call_later(self._patience, end)
        try:
            await over
        finally:
            handle.cancel()
            for task in running:
                task.remove_done_callback(ended)

    async def _detail(self, _: Request) -> JSONResponse:
        report = await self.report()
        checks = {name: _as_json(result) for name, result in report.results.items()}
        body = {"status": report.status.value, "state": report.state.value, "checks": checks}
        return _response(body, ok=report.status is not Status.UNHEALTHY)

    async def _live(self, _: Request) -> JSONResponse:
        """Answer: that this runs at all is the answer."""
        return _response({"status": "alive"}, ok=True)

    async def _ready(self, _: Request) -> JSONResponse:
        report = await self.report()
        told = report.state if report.state is not State.READY else report.status
        return _response({"status": "ready" if report.ready else told.value}, ok=report.ready)


class _Probe:
    """One check, what it last found, and the task that is finding out again."""

    def __init__(self, check: Check, clock: Clock) -> None:
        self.result = Result(self._failure(check), error="unknown")
        self._check = check
        self._clock = clock
        self._fresh_until = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def refresh(self, max_age: float) -> asyncio.Task[None] | None:
        """Return the task that finds out, begun if need be; None while the result is fresh."""
        if self._task is None and self._clock.monotonic() >= self._fresh_until:
            name = f"check {self._check.name}"
            self._task = asyncio.create_task(self._run(max_age), name=name)
        return self._task

    async def close(self) -> None:
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self, max_age: float) -> None:
        began = self._clock.monotonic()
        # What does not even end when it is cancelled has failed all the same.
        overdue = self._clock.call_later(
            self._check.timeout, lambda: self._found("timeout", since=began)
        )
        try:
            error = await self._ask()
        finally:
            overdue.cancel()
            self._task = None
            self._fresh_until = self._clock.monotonic() + max_age
        self._found(error, since=began)

    def _found(self, error: str, *, since: float) -> None:
        status = self._failure(self._check) if error else Status.HEALTHY
        if status is not self.result.status:
            _log.info("health changed", check=self._check.name, status=status.value, error=error)
        self.result = Result(status, self._clock.monotonic() - since, error)

    async def _ask(self) -> str:
        """Return what went wrong, in a word; who asks may be a stranger."""
        alarm = Alarm(self._clock, self._check.timeout)
        try:
            await self._check.fn()
        except asyncio.CancelledError:
            if not alarm.rang():
                raise
            return "timeout"
        except Exception as error:  # noqa: BLE001  # that it raised is the finding
            _log.debug("check failed", check=self._check.name, error=type(error).__name__)
            return "failed"
        finally:
            alarm.stop()
        return ""

    @staticmethod
    def _failure(check: Check) -> Status:
        return Status.UNHEALTHY if check.essential else Status.DEGRADED


def _as_json(result: Result) -> dict[str, object]:
    body: dict[str, object] = {
        "status": result.status.value,
        "duration_ms": round(result.duration * 1000, 3),
    }
    if result.error:
        body["error"] = result.error
    return body


def _response(body: Mapping[str, object], *, ok: bool) -> JSONResponse:
    return JSONResponse(body, 200 if ok else 503, headers=_HEADERS)
