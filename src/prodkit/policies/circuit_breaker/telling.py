"""What a shared breaker says: of the fleet's circuit, of the calls it refuses, of its store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prodkit.call import Call
from prodkit.errors import CircuitOpenError
from prodkit.events import Event
from prodkit.policies.circuit_breaker.circuit import State
from prodkit.policies.circuit_breaker.events import (
    CallRejected,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitIsolated,
    CircuitOpened,
    CircuitReset,
)
from prodkit.policies.circuit_breaker.view import View

POLICY = "circuit_breaker"
_CLOSED, _OPEN, _HALF_OPEN, _ISOLATED = State  # reading a member off its class is slow


@dataclass(frozen=True, slots=True)
class BreakerStoreFailed(Event):
    """The store did not answer `action`; until it does, the circuit is this process's own."""

    level: ClassVar[str] = "warning"

    name: str
    action: str
    error: str


def change_of(name: str, before: State, view: View) -> Event:
    """Return the event for a change of state, as this process learned of it."""
    circuit, state = view.circuit, view.state
    if state is _OPEN:
        return CircuitOpened(
            POLICY,
            name,
            measured=circuit.measured,
            threshold=circuit.threshold,
            retry_after=circuit.last_break,
        )
    if state is _HALF_OPEN:
        return CircuitHalfOpened(POLICY, name, circuit.options.half_open_probes)
    if state is _ISOLATED:
        return CircuitIsolated(POLICY, name)
    return (CircuitReset if before is _ISOLATED else CircuitClosed)(POLICY, name)


def refusal_of(
    name: str, call: Call, view: View, now: float
) -> tuple[CallRejected, CircuitOpenError]:
    """Return event and error for a call that may not run."""
    circuit, state, retry_after = view.circuit, view.state, view.retry_after(now)
    measured, threshold, shadow = circuit.measured, circuit.threshold, circuit.options.shadow
    why = "open: too many calls failed or were slow"
    if state is _HALF_OPEN:
        why = "half-open and all the probes of the fleet are out"
        measured = threshold = circuit.options.half_open_probes
    elif state is _ISOLATED:
        why = "isolated by hand"
    rejected = CallRejected(POLICY, name, state, measured, threshold, retry_after, shadow)
    error = CircuitOpenError(
        f"the circuit {name!r} is {why}",
        call=call,
        policy=POLICY,
        measured=measured,
        threshold=threshold,
        retry_after=retry_after,
    )
    return rejected, error
