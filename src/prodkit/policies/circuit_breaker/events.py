"""What a circuit breaker tells while it works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prodkit.events import Event
from prodkit.policies.circuit_breaker.circuit import State


@dataclass(frozen=True, slots=True)
class CircuitOpened(Event):
    """Calls stop for `retry_after` seconds; `measured` reached `threshold`, or a probe failed.

    `slow`: too many calls were slow, rather than failed.
    """

    level: ClassVar[str] = "warning"

    name: str
    measured: float
    threshold: float
    retry_after: float
    slow: bool = False


@dataclass(frozen=True, slots=True)
class CircuitHalfOpened(Event):
    """The break is over: up to `probes` calls may try."""

    level: ClassVar[str] = "info"

    name: str
    probes: int


@dataclass(frozen=True, slots=True)
class CircuitClosed(Event):
    """All probes succeeded: calls flow again."""

    level: ClassVar[str] = "info"

    name: str


@dataclass(frozen=True, slots=True)
class CircuitIsolated(Event):
    """Somebody isolated it: no call passes until it is reset. Told by the next call."""

    level: ClassVar[str] = "warning"

    name: str


@dataclass(frozen=True, slots=True)
class CircuitReset(Event):
    """Somebody closed it by hand: calls flow again. Told by the next call."""

    level: ClassVar[str] = "info"

    name: str


@dataclass(frozen=True, slots=True)
class CallRejected(Event):
    """A call did not run; `retry_after` is in seconds, None while isolated.

    `shadow`: it did run, since the breaker only watches.
    """

    name: str
    state: State
    measured: float
    threshold: float
    retry_after: float | None
    shadow: bool = False
