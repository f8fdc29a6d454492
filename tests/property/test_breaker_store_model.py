"""The breaker stores against what their Protocol says, in lists that are scanned."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from prodkit.policies.circuit_breaker import Outcome, State, Terms
from prodkit.stores.memory import MemoryBreakerStore

LEASE = 3.0


@dataclass
class Permit:
    ticket: str
    until: float
    outcome: Outcome | None = None


@dataclass
class Model:
    state: State = State.CLOSED
    generation: str = ""
    over_at: float = 0.0
    permits: list[Permit] = field(default_factory=list)  # of this half-open state

    def enter(self, state):
        self.state, self.permits = state, []

    def of(self, outcome):
        return [p for p in self.permits if p.outcome is outcome]

    def out(self, now):
        return [p for p in self.of(None) if now < p.until]

    def admit(self, ticket, now, terms):
        if self.state is State.OPEN and now >= self.over_at:
            self.enter(State.HALF_OPEN)
        if self.state is not State.HALF_OPEN:
            return False
        self.close_if_all_passed(ticket, terms)
        if self.state is State.CLOSED:
            return False
        room = len(self.out(now)) + len(self.of(Outcome.PASSED)) < terms.probes
        if room:
            self.permits.append(Permit(ticket, now + terms.lease))
        return room

    def close_if_all_passed(self, ticket, terms):
        if len(self.of(Outcome.PASSED)) >= terms.probes:
            self.enter(State.CLOSED)
            self.generation = ticket

    def trip(self, generation, now, terms):
        if self.state is State.CLOSED and generation == self.generation:
            self.enter(State.OPEN)
            self.over_at = now + terms.break_duration

    def settle(self, ticket, outcome, now, terms):
        for permit in self.out(now):
            if permit.ticket == ticket:
                permit.outcome = outcome
                if outcome is Outcome.FAILED:
                    self.enter(State.OPEN)
                    self.over_at = now + terms.break_duration
                elif outcome is Outcome.PASSED:
                    self.close_if_all_passed(ticket, terms)


class BreakerStoreMachine(RuleBasedStateMachine):
    tickets = Bundle("tickets")
    probes = st.integers(1, 3)

    def __init__(self):
        super().__init__()
        self.model, self.store = Model(), MemoryBreakerStore()
        self.now, self.words = 0.0, 0
        self.generations = [""]
        self.told = None

    def word(self):
        self.words += 1
        return f"word {self.words}"

    def ask(self, action, *args, **options):
        question = getattr(self.store, action)("name", *args, now=self.now, **options)
        with pytest.raises(StopIteration) as answered:  # it never suspends
            question.send(None)
        self.told = answered.value.value
        if self.told.generation not in self.generations:
            self.generations.append(self.told.generation)
        return self.told

    @rule(target=tickets, probes=probes)
    def admit(self, probes):
        ticket, terms = self.word(), Terms(probes, LEASE, 2.0)
        expected = self.model.admit(ticket, self.now, terms)
        assert self.ask("admit", ticket, terms=terms).permit is expected
        return ticket

    @rule(back=st.integers(1, 3), length=st.sampled_from([1.0, 4.0]))
    def trip(self, back, length):
        generation, terms = self.generations[-back:][0], Terms(1, LEASE, length)
        self.model.trip(generation, self.now, terms)
        self.ask("trip", generation, terms=terms, measured=0.5, threshold=0.5)

    @rule(ticket=tickets, outcome=st.sampled_from(Outcome), probes=probes)
    def settle(self, ticket, outcome, probes):
        terms = Terms(probes, LEASE, 2.0)
        self.model.settle(ticket, outcome, self.now, terms)
        assert not self.ask("settle", ticket, outcome, terms=terms).permit

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 3.0]))
    def time_passes(self, seconds):
        self.now += seconds
        self.told = None

    @rule()
    def isolate(self):
        self.model.enter(State.ISOLATED)
        self.ask("isolate")

    @rule()
    def reset(self):
        generation = self.word()
        self.model.enter(State.CLOSED)
        self.model.generation = generation
        self.ask("reset", generation)

    @invariant()
    def it_told_the_truth(self):
        if self.told is None:
            return
        assert (self.told.state, self.told.generation) == (self.model.state, self.model.generation)
        if self.told.state is State.OPEN:
            assert self.told.retry_after == max(0.0, self.model.over_at - self.now)


TestBreakerStore = BreakerStoreMachine.TestCase
TestBreakerStore.settings = settings(stateful_step_count=60)
