"""Scenario 15: the circuit equals a model that keeps lists and scans them."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from prodkit.policies._circuit import BUCKETS, Circuit, ConsecutiveFailures, FailureRatio, State
from prodkit.testing import ManualClock

SAMPLING, BREAK, PROBE_TIMEOUT = 10.0, 5.0, 8.0
OK, FAILED, CANCELLED = "ok", "failed", "cancelled"


@dataclass(eq=False)
class Begun:
    """A call under way: what the model remembers of it, and the ticket that the circuit gave."""

    era: int
    at: float
    ticket: int = 0


@dataclass
class Model:
    """What the promises say, in the plainest way: every result of an era, every probe."""

    threshold: float
    minimum: int | None  # None: consecutive failures
    permits: int
    state: State = State.CLOSED
    era: int = 0
    results: list[tuple[float, bool]] = field(default_factory=list)
    probes: list[Begun] = field(default_factory=list)
    passed: int = 0
    opened: float = 0.0

    def enter(self, state):
        self.state, self.era = state, self.era + 1
        self.results, self.probes, self.passed = [], [], 0

    def admit(self, now):
        if self.state is State.OPEN and now - self.opened >= BREAK:
            self.enter(State.HALF_OPEN)
        if self.state is State.CLOSED:
            return Begun(self.era, now)
        if self.state is not State.HALF_OPEN:
            return None
        self.probes = [p for p in self.probes if now - p.at < PROBE_TIMEOUT]
        if len(self.probes) + self.passed >= self.permits:
            return None
        self.probes.append(Begun(self.era, now))
        return self.probes[-1]

    def end(self, begun, outcome, now):
        if begun.era != self.era:
            return
        if self.state is State.HALF_OPEN:
            self.end_probe(begun, outcome, now)
        elif outcome is not CANCELLED:
            self.results.append((now, outcome is FAILED))
            if outcome is FAILED and self.trips(now):
                self.enter(State.OPEN)
                self.opened = now

    def end_probe(self, begun, outcome, now):
        if begun not in self.probes:
            return
        self.probes.remove(begun)
        if outcome is CANCELLED or now - begun.at >= PROBE_TIMEOUT:
            return
        if outcome is FAILED:
            self.enter(State.OPEN)
            self.opened = now
            return
        self.passed += 1
        if self.passed == self.permits:
            self.enter(State.CLOSED)

    def trips(self, now):
        if self.minimum is None:
            last = [failed for _, failed in self.results[-int(self.threshold) :]]
            return len(last) == self.threshold and all(last)
        bucket = SAMPLING / BUCKETS
        recent = [f for at, f in self.results if at // bucket > now // bucket - BUCKETS]
        return len(recent) >= self.minimum and sum(recent) / len(recent) >= self.threshold


class CircuitMachine(RuleBasedStateMachine):
    calls = Bundle("calls")

    @initialize(
        consecutive=st.none() | st.integers(1, 4),
        ratio=st.sampled_from([0.25, 0.5, 1.0]),
        minimum=st.integers(1, 8),
        permits=st.integers(1, 3),
    )
    def begin(self, consecutive, ratio, minimum, permits):
        self.clock = ManualClock()
        window = (
            FailureRatio(ratio, minimum, SAMPLING)
            if consecutive is None
            else ConsecutiveFailures(consecutive)
        )
        self.model = Model(consecutive or ratio, minimum if consecutive is None else None, permits)
        self.circuit = Circuit(
            window,
            break_duration=BREAK,
            half_open_probes=permits,
            probe_timeout=PROBE_TIMEOUT,
        )

    @property
    def now(self):
        return self.clock.monotonic()

    @rule(target=calls)
    def call_begins(self):
        expected, ticket = self.model.admit(self.now), self.circuit.admit(self.now)
        assert (ticket is None) is (expected is None)
        begun = expected or Begun(-1, self.now)  # refused: its "result" must change nothing either
        begun.ticket = -1 if ticket is None else ticket
        return begun

    @rule(begun=consumes(calls), outcome=st.sampled_from([OK, FAILED, FAILED, CANCELLED]))
    def call_ends(self, begun, outcome):
        before = self.circuit.state
        self.model.end(begun, outcome, self.now)
        if outcome is CANCELLED:
            self.circuit.withdrawn(begun.ticket)
            return
        told = self.circuit.failed if outcome is FAILED else self.circuit.succeeded
        assert told(begun.ticket, self.now) is (self.circuit.state is not before)

    @rule(outcomes=st.lists(st.sampled_from([OK, FAILED, FAILED]), min_size=1, max_size=6))
    def calls_come_and_go(self, outcomes):
        for outcome in outcomes:
            self.call_ends(self.call_begins(), outcome)

    @rule(seconds=st.sampled_from([0.25, 1.0, 1.0, 2.5, 3.0, 9.0, 10.0, 3600.0]))
    def time_passes(self, seconds):
        self.clock._now += round(seconds * 1e9)

    @precondition(lambda self: self.model.state is State.OPEN)
    @rule(target=calls, early=st.sampled_from([0.0, 0.0, 0.0, 0.25]))
    def the_break_ends(self, early):
        self.time_passes(max(0.0, self.model.opened + BREAK - early - self.now))
        return self.call_begins()

    @precondition(lambda self: self.model.probes)
    @rule(target=calls, early=st.sampled_from([0.0, 0.0, 0.25]))
    def the_oldest_probe_gets_stuck(self, early):
        self.time_passes(max(0.0, self.model.probes[0].at + PROBE_TIMEOUT - early - self.now))
        return self.call_begins()

    @rule(seconds=st.sampled_from([-3600.0, 3600.0]))
    def the_wall_clock_jumps(self, seconds):
        self.clock.jump_wall(seconds)

    @rule(state=st.sampled_from([State.ISOLATED, State.CLOSED, None, None, None, None]))
    def somebody_interferes(self, state):
        if state is State.ISOLATED:
            self.circuit.isolate()
            self.model.enter(state)
        elif state is State.CLOSED or self.model.state is State.ISOLATED:
            self.circuit.reset()
            self.model.enter(State.CLOSED)

    @invariant()
    def it_equals_the_model(self):
        if hasattr(self, "model"):
            assert self.circuit.state is self.model.state

    @invariant()
    def no_more_probes_than_permits(self):
        if hasattr(self, "model") and self.circuit.state is State.HALF_OPEN:
            assert self.circuit.probes_out == len(self.model.probes) + self.model.passed
            assert self.circuit.probes_out <= self.model.permits


TestScenario15BreakerAgainstItsModel = CircuitMachine.TestCase
TestScenario15BreakerAgainstItsModel.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None
)


@pytest.mark.slow
class TestScenario15AtLength(CircuitMachine.TestCase):
    settings = settings(max_examples=1000, stateful_step_count=100, deadline=None)
