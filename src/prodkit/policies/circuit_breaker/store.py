"""Where the breakers of a fleet keep one circuit together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from prodkit.policies.circuit_breaker.circuit import State


class Outcome(Enum):
    """How a probe ended."""

    PASSED = "passed"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"  #: cancelled, or refused further in: nothing was learned


@dataclass(frozen=True, slots=True)
class Terms:
    """What the asking process was configured with; durations are seconds.

    `probes` permits half-open, each out for `lease` at most; a break that begins now lasts
    `break_duration`.
    """

    probes: int
    lease: float
    break_duration: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the fleet's circuit is, in the answer to one question.

    `permit`: the asker may send a probe. `generation` is a word that changes whenever the circuit
    closes: "" if it never opened, or was forgotten. `retry_after`: seconds until asking for a
    permit makes sense: the rest of the break, or until the first lease of probes that are all out
    ends; 0 otherwise. `last_break`: the length of the last break since it closed, 0 for none.
    `measured` and `threshold` are those of the trip.
    """

    state: State
    generation: str = ""
    permit: bool = False
    retry_after: float = 0.0
    last_break: float = 0.0
    measured: float = 0.0
    threshold: float = 0.0


class BreakerStore(Protocol):
    """One circuit for each name; every method is one atomic step and returns where that led.

    An unknown name is closed, with generation "". A store may forget a circuit that is closed, or
    whose break ended long ago; never one that is isolated. `ticket` and `generation` are random
    words that the asker makes anew for each probe and each reset: equality decides, so what an
    older state gave out can never pass for new. `now` is the asker's monotonic clock; a store that
    processes share asks one clock for all of them instead. Raises UnavailableError when the store
    is away. `prodkit.testing.check_breaker_store` checks an implementation.
    """

    async def admit(self, name: str, ticket: str, *, now: float, terms: Terms) -> Standing:
        """Ask for a permit; closed (or isolated) there is none to give, and nothing changes.

        Open, with the break over, the circuit becomes half-open with no probe out and none passed.
        Half-open, a permit is given while those out (the leases that did not end) and those that
        passed are fewer than `terms.probes`; it is leased to `ticket` for `terms.lease` seconds.
        Where `terms.probes` passed already, others having asked for more, it closes as in `settle`.
        """

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
        """Open for `terms.break_duration`, if it is closed and its generation is this one."""

    async def settle(
        self, name: str, ticket: str, outcome: Outcome, *, now: float, terms: Terms
    ) -> Standing:
        """Take the permit of `ticket` back; without a lease that lasts, nothing changes.

        PASSED: it closes when `terms.probes` have passed, and `ticket` is the new generation.
        FAILED: it opens for `terms.break_duration`. Both end all other leases. WITHDRAWN: the
        permit is free for another.
        """

    async def isolate(self, name: str, *, now: float) -> Standing:
        """Admit nothing until `reset`; ends all leases."""

    async def reset(self, name: str, generation: str, *, now: float) -> Standing:
        """Close with this generation and nothing remembered; ends all leases."""
