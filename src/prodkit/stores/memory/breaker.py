"""Circuits that the breakers of one process share."""

from __future__ import annotations

from dataclasses import dataclass, field

from prodkit.policies.circuit_breaker.circuit import State
from prodkit.policies.circuit_breaker.store import Outcome, Standing, Terms


@dataclass(slots=True)
class _Circuit:
    state: State = State.CLOSED
    generation: str = ""
    retry_at: float = 0.0
    last_break: float = 0.0
    measured: float = 0.0
    threshold: float = 0.0
    leases: dict[str, float] = field(default_factory=dict)  # ticket -> when it ends
    passed: int = 0

    def enter(self, state: State) -> None:
        self.state = state
        self.leases.clear()
        self.passed = 0

    def close(self, generation: str) -> None:
        self.enter(State.CLOSED)
        self.generation = generation
        self.last_break = self.measured = self.threshold = 0.0

    def open(self, now: float, length: float) -> None:
        self.enter(State.OPEN)
        self.retry_at = now + length
        self.last_break = length

    def take_back(self, ticket: str, now: float) -> bool:
        return self.leases.pop(ticket, now) > now

    def has_room(self, now: float, probes: int) -> bool:
        self.leases = {ticket: end for ticket, end in self.leases.items() if end > now}
        return len(self.leases) + self.passed < probes

    def standing(self, now: float, probes: int, *, permit: bool = False) -> Standing:
        retry_after = 0.0
        if self.state is State.OPEN:
            retry_after = max(0.0, self.retry_at - now)
        elif not self.has_room(now, probes):
            retry_after = min(self.leases.values(), default=now) - now
        return Standing(
            self.state,
            self.generation,
            permit,
            retry_after,
            self.last_break,
            self.measured,
            self.threshold,
        )


class MemoryBreakerStore:
    """Keeps the circuits of one process, one for each name; for tests, where breakers are a fleet.

    Two breakers that guard one dependency in one process share a circuit by it as well. What it
    keeps is a few numbers a name, for ever. Its methods never suspend, and so are atomic.
    """

    __slots__ = ("_circuits",)

    def __init__(self) -> None:
        self._circuits: dict[str, _Circuit] = {}

    async def admit(self, name: str, ticket: str, *, now: float, terms: Terms) -> Standing:
        """Give a permit if there is one; see BreakerStore."""
        circuit = self._circuit(name)
        if circuit.state is State.OPEN and circuit.retry_at <= now:
            circuit.enter(State.HALF_OPEN)
        if circuit.state is State.HALF_OPEN and circuit.passed >= terms.probes:
            circuit.close(ticket)
        permit = circuit.state is State.HALF_OPEN and circuit.has_room(now, terms.probes)
        if permit:
            circuit.leases[ticket] = now + terms.lease
        return circuit.standing(now, terms.probes, permit=permit)

    async def trip(
        self,
        name: str,
        generation: str,
        *,
        now: float,
        terms: Terms,
        measured: float,
        threshold: float,
    ) -> Standing:
        """Open a closed circuit of this generation; see BreakerStore."""
        circuit = self._circuit(name)
        if circuit.state is State.CLOSED and circuit.generation == generation:
            circuit.open(now, terms.break_duration)
            circuit.measured, circuit.threshold = measured, threshold
        return circuit.standing(now, terms.probes)

    async def settle(
        self, name: str, ticket: str, outcome: Outcome, *, now: float, terms: Terms
    ) -> Standing:
        """Take a permit back with what was learned; see BreakerStore."""
        circuit = self._circuit(name)
        if circuit.take_back(ticket, now):
            if outcome is Outcome.FAILED:
                circuit.open(now, terms.break_duration)
            elif outcome is Outcome.PASSED:
                circuit.passed += 1
                if circuit.passed >= terms.probes:
                    circuit.close(ticket)
        return circuit.standing(now, terms.probes)

    async def isolate(self, name: str, *, now: float) -> Standing:
        """Admit nothing until `reset`; see BreakerStore."""
        circuit = self._circuit(name)
        circuit.enter(State.ISOLATED)
        return circuit.standing(now, 1)

    async def reset(self, name: str, generation: str, *, now: float) -> Standing:
        """Close; see BreakerStore."""
        circuit = self._circuit(name)
        circuit.close(generation)
        return circuit.standing(now, 1)

    def _circuit(self, name: str) -> _Circuit:
        return self._circuits.setdefault(name, _Circuit())
