"""Sagas: steps with their compensations, and what follows from each outcome; no I/O here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from prodkit.clock import seconds, wait_asked
from prodkit.errors import (
    FAILURE_CODES,
    Code,
    ConfigurationError,
    RejectedError,
    ServiceError,
    code_of,
)

if TYPE_CHECKING:
    from prodkit.data.database import Transaction

#: What may pass by itself. The rest (declined, not found, not allowed...) will not.
TRANSIENT_CODES = FAILURE_CODES | {
    Code.ABORTED,
    Code.CANCELLED,
    Code.RESOURCE_EXHAUSTED,
    Code.UNAUTHENTICATED,
}


class SagaStatus(Enum):
    """Where a saga is; it stays in the last four. Of them the last two can be retried."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    NEEDS_ATTENTION = "needs_attention"
    ABANDONED = "abandoned"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self not in (SagaStatus.RUNNING, SagaStatus.COMPENSATING)


class CompensateError(ServiceError):
    """Raised by an action: give up now and undo what was done."""

    code = Code.FAILED_PRECONDITION
    reason = "COMPENSATE"


StepResult: TypeAlias = Mapping[str, Any] | None


async def _no_recorder(tx: Transaction, result: StepResult) -> None:
    raise RuntimeError("complete() is for steps that a SagaRunner runs")


@dataclass(frozen=True, slots=True)
class StepRun:
    """What a step is given: the saga's state so far, and keys that stay the same when it repeats.

    `key` goes out as the idempotency key of whatever the function calls; a compensation has its
    own, and finds its action's in `action_key`.
    """

    saga_id: str
    step: str
    state: Mapping[str, Any]
    attempt: int
    compensating: bool = False
    recorder: Callable[[Transaction, StepResult], Awaitable[None]] = field(
        default=_no_recorder, repr=False, compare=False
    )

    async def complete(self, tx: Transaction, result: StepResult = None) -> None:
        """Record in `tx` that this step is done: effect and progress commit together, once.

        For a step whose effect is in the database of the sagas. `result` is what the function
        would return, which is ignored then; so is what it raises after the commit. Where `tx`
        rolls back, nothing was recorded, and the function ends as any other. Raises AbortedError
        where the lease was lost to another process: let it pass, so that the effect rolls back.
        """
        await self.recorder(tx, result)

    @property
    def action_key(self) -> str:
        """The idempotency key of the action."""
        return f"{self.saga_id}:{self.step}"

    @property
    def key(self) -> str:
        """The idempotency key of this function."""
        return f"{self.action_key}:compensate" if self.compensating else self.action_key


StepFunction: TypeAlias = Callable[[StepRun], Awaitable[StepResult]]


def is_transient(error: Exception) -> bool:
    """Say whether trying again may help, by the error's code.

    Exceptions that are no ServiceError may: their code is UNKNOWN.
    """
    return code_of(error) in TRANSIENT_CODES and not isinstance(error, CompensateError)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: an action, and the compensation that undoes it.

    Both may run more than once, for a crash can hide that they ran: what they do must be
    idempotent, by `run.key` or by conditional updates. What they return is merged into the state,
    which JSON must be able to hold. One run may take `timeout` seconds. An error that `retry_on`
    accepts is tried again, `wait_initial` seconds later, then twice that, up to `wait_max`, for
    `attempts` attempts (None: without end; past the point of no return); by default one that may
    pass (`is_transient`), and an action says by CompensateError that it will not. Any other, and
    the last of these, starts compensation: *with this step*, whose effect is in doubt, so that a
    compensation must bear that its action never happened. A policy's refusal of a call that the
    step made counts as no attempt: it did not run. A compensation that cannot be done, at once or
    in `compensate_attempts`, leaves the saga in need of attention.
    """

    name: str
    action: StepFunction
    compensate: StepFunction | None = None
    timeout: float = field(default=10.0, kw_only=True)
    attempts: int | None = field(default=5, kw_only=True)
    compensate_attempts: int = field(default=10, kw_only=True)
    wait_initial: float = field(default=0.5, kw_only=True)
    wait_max: float = field(default=60.0, kw_only=True)
    retry_on: Callable[[Exception], bool] = field(default=is_transient, kw_only=True)

    def __post_init__(self) -> None:
        for option in ("timeout", "wait_initial", "wait_max"):
            seconds(option, getattr(self, option))
        for option in ("attempts", "compensate_attempts"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise ConfigurationError(f"{option} must be at least 1, not {value!r}")

    def may_retry(self, progress: Progress, error: Exception) -> bool:
        """Say whether this function is to be tried again."""
        if not self.retry_on(error):
            return False
        compensating = progress.status is SagaStatus.COMPENSATING
        limit = self.compensate_attempts if compensating else self.attempts
        return limit is None or progress.attempts + 1 < limit or isinstance(error, RejectedError)

    def delay(self, attempts: int, error: Exception) -> float:
        """Return the seconds to wait after `attempts` failed attempts, or what `error` asks for."""
        wait = min(self.wait_max, self.wait_initial * 2.0 ** min(attempts, 30))
        return max(wait, wait_asked(error))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one saga has come: the step that is next, and in how many seconds.

    `attempts` of it have failed, the last of them with `error`. `reason` tells why the saga
    compensates, or needs attention.
    """

    status: SagaStatus
    step: str
    state: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 0
    wait: float = 0.0
    error: str = ""
    reason: str = ""

    @property
    def rests(self) -> bool:
        """Whether nothing is to be done now."""
        return self.status.ended or self.wait > 0


class Saga:
    """A sequence of steps that ends completed, compensated, or in need of attention."""

    __slots__ = ("_places", "name", "steps")

    def __init__(self, name: str, *steps: Step) -> None:
        self.name = name
        self.steps = steps
        self._places = {step.name: place for place, step in enumerate(steps)}
        if not steps or len(self._places) != len(steps):
            raise ConfigurationError(
                f"saga {name}: steps must have names of their own, one at least"
            )

    def begin(self, state: Mapping[str, Any]) -> Progress:
        """Return the progress of a saga that has done nothing yet."""
        return Progress(SagaStatus.RUNNING, self.steps[0].name, state)

    def step(self, name: str) -> Step | None:
        """Return the step of that name, None if this version of the saga has none."""
        place = self._places.get(name)
        return None if place is None else self.steps[place]

    def succeeded(self, progress: Progress, updates: StepResult) -> Progress:
        """Return what follows when the current step's function has returned."""
        state = {**progress.state, **(updates or {})}
        progress = replace(progress, state=state, attempts=0, wait=0.0, error="")
        place = self._places[progress.step]
        if progress.status is SagaStatus.COMPENSATING:
            return self._undo_from(place - 1, progress)
        if place + 1 == len(self.steps):
            return replace(progress, status=SagaStatus.COMPLETED)
        return replace(progress, step=self.steps[place + 1].name)

    def failed(self, progress: Progress, error: Exception) -> Progress:
        """Return what follows when the current step's function has raised `error`."""
        place = self._places[progress.step]
        step, told = self.steps[place], _describe(error)
        if step.may_retry(progress, error):
            return replace(
                progress,
                attempts=progress.attempts + (not isinstance(error, RejectedError)),
                wait=step.delay(progress.attempts, error),
                error=told,
            )
        progress = replace(progress, wait=0.0, error=told)
        if progress.status is SagaStatus.COMPENSATING:
            return needs_attention(progress, f"could not compensate {step.name}: {told}")
        reason = f"{step.name}: {told}"
        return self._undo_from(place, replace(progress, attempts=0, error="", reason=reason))

    def _undo_from(self, place: int, progress: Progress) -> Progress:
        for step in reversed(self.steps[: place + 1]):
            if step.compensate is not None:
                return replace(progress, status=SagaStatus.COMPENSATING, step=step.name)
        return replace(progress, status=SagaStatus.COMPENSATED)


def needs_attention(progress: Progress, reason: str) -> Progress:
    """Return the progress of a saga that only a person can bring further; keeps earlier reasons."""
    return replace(
        progress, status=SagaStatus.NEEDS_ATTENTION, reason=both(progress.reason, reason)
    )


def both(earlier: str, later: str) -> str:
    """Return two reasons in one."""
    return f"{earlier}; {later}" if earlier else later


def _describe(error: Exception) -> str:
    # The text of a foreign exception may hold secrets; a ServiceError's is meant to be shown.
    name = type(error).__name__
    if not isinstance(error, ServiceError):
        return name
    # Lone surrogates and NUL, which JSON can bring in, are no text that a database would take.
    return f"{name}: {error.message}".encode(errors="replace").decode().replace("\0", "?")
