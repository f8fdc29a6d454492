"""Scenario 15: the circuit equals a model that keeps lists and scans them."""

import random
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

from prodkit.errors import ConfigurationError
from prodkit.policies.circuit_breaker.circuit import Change, Circuit, State
from prodkit.policies.circuit_breaker.options import Options
from prodkit.policies.circuit_breaker.windows import BUCKETS
from prodkit.testing import ManualClock

SAMPLING, BREAK, PROBE_TIMEOUT = 10.0, 5.0, 8.0
OK, SLOW, FAILED, SLOW_FAILED, CANCELLED = "ok", "slow", "failed", "slow and failed", "cancelled"
OUTCOMES = (OK, OK, SLOW, FAILED, FAILED, SLOW_FAILED, CANCELLED)
AFTER = {
    Change.OPENED: State.OPEN,
    Change.HALF_OPENED: State.HALF_OPEN,
    Change.CLOSED: State.CLOSED,
    Change.RESET: State.CLOSED,
    Change.ISOLATED: State.ISOLATED,
}


@dataclass(eq=False)
class Begun:
    """A call under way: what the model remembers of it, and the ticket that the circuit gave."""

    era: int
    at: float
    ticket: int = 0


@dataclass
class Model:
    """What the promises say, in the plainest way: every result of an era, every probe."""

    options: Options
    state: State = State.CLOSED
    era: int = 0
    results: list[tuple[float, str]] = field(default_factory=list)
    probes: list[Begun] = field(default_factory=list)
    passed: int = 0
    reopens: float = 0.0
    breaks: list[float] = field(default_factory=list)  # since it closed

    def enter(self, state):
        self.state, self.era = state, self.era + 1
        self.results, self.probes, self.passed = [], [], 0
        if state is State.CLOSED:
            self.breaks = []

    def open(self, now):
        length = self.options.break_duration
        if self.breaks:
            length = max(length, self.breaks[-1] * self.options.break_growth)
        self.breaks.append(min(length, self.options.break_max))
        self.reopens = now + self.breaks[-1]
        self.enter(State.OPEN)

    def catch_up(self, now):
        hung = [p.at for p in self.probes if now - p.at >= self.options.probe_timeout]
        if hung:
            self.open(min(hung) + self.options.probe_timeout)

    def admit(self, now):
        self.catch_up(now)
        if self.state is State.OPEN and now >= self.reopens:
            self.enter(State.HALF_OPEN)
        if self.state is State.CLOSED:
            return Begun(self.era, now)
        if self.state is not State.HALF_OPEN:
            return None
        if len(self.probes) + self.passed >= self.options.half_open_probes:
            return None
        self.probes.append(Begun(self.era, now))
        return self.probes[-1]

    def end(self, begun, outcome, now):
        if outcome is CANCELLED:
            self.probes = [p for p in self.probes if p is not begun]
            return
        self.catch_up(now)
        if begun.era != self.era:
            return
        if self.state is State.HALF_OPEN:
            self.end_probe(begun, outcome, now)
            return
        self.results.append((now, outcome))
        if self.trips(now, outcome):
            self.breaks = []
            self.open(now)

    def end_probe(self, begun, outcome, now):
        self.probes.remove(begun)
        if outcome is not OK:
            self.open(now)
            return
        self.passed += 1
        self.close_if_enough()

    def close_if_enough(self):
        if self.passed >= self.options.half_open_probes:
            self.enter(State.CLOSED)

    def trips(self, now, outcome):
        """Judge the ratio of what went wrong in the way that this outcome did, as each result."""
        options = self.options
        if options.consecutive_failures is None:
            failed = self.too_many(now, outcome, {FAILED, SLOW_FAILED}, options.failure_ratio)
        else:
            last = [o in (FAILED, SLOW_FAILED) for _, o in self.results]
            last = last[-options.consecutive_failures :]
            failed = len(last) == options.consecutive_failures and all(last)
        timed = options.slow_call_duration is not None
        slow = self.too_many(now, outcome, {SLOW, SLOW_FAILED}, options.slow_call_ratio)
        return failed or (timed and slow)

    def too_many(self, now, outcome, bad, ratio):
        bucket = self.options.sampling_duration / BUCKETS
        recent = [o in bad for at, o in self.results if at // bucket > now // bucket - BUCKETS]
        enough = len(recent) >= self.options.minimum_throughput
        return outcome in bad and enough and sum(recent) / len(recent) >= ratio


class Pair:
    """A circuit and its model, told the same."""

    def __init__(self, options):
        self.clock = ManualClock()
        self.model = Model(options)
        self.circuit = Circuit(options)
        self.told = State.CLOSED

    @property
    def now(self):
        return self.clock.monotonic()

    def begin(self):
        expected, ticket = self.model.admit(self.now), self.circuit.admit(self.now)
        self.check()
        assert (ticket is None) is (expected is None)
        begun = expected or Begun(-1, self.now)  # refused: its "result" must change nothing either
        begun.ticket = -1 if ticket is None else ticket
        return begun

    def end(self, begun, outcome):
        self.model.end(begun, outcome, self.now)
        if outcome is CANCELLED:
            self.circuit.withdrawn(begun.ticket)
        else:
            failed = outcome in (FAILED, SLOW_FAILED)
            tell = self.circuit.failed if failed else self.circuit.succeeded
            tell(begun.ticket, self.now, outcome in (SLOW, SLOW_FAILED))
        self.check()

    def interfere(self, state):
        if state is State.ISOLATED:
            self.circuit.isolate()
        else:
            self.circuit.reset()
        if state is not self.model.state or state is State.CLOSED:
            self.model.enter(state)
        self.check()

    def reconfigure(self, **changes):
        try:
            options = self.model.options.changed(changes)
        except ConfigurationError:
            return  # in this kind of window it would change nothing
        self.circuit.reconfigure(options)
        self.model.options = options
        self.model.close_if_enough()
        self.check()

    def check(self):
        """The same state, told in full, and no more probes than permits."""
        circuit, model = self.circuit, self.model
        assert circuit.state is model.state
        for change in circuit.untold:
            assert AFTER[change] is not self.told
            self.told = AFTER[change]
        circuit.untold = ()
        assert self.told is circuit.state
        if model.state is State.HALF_OPEN:
            assert circuit.probes_out == len(model.probes) + model.passed
        if model.state is State.OPEN:
            assert circuit.retry_after(self.now) == model.reopens - self.now


def options(choose):
    """Choose options of every kind; `choose` takes one of a list."""
    timed = {"slow_call_duration": 1.0, "slow_call_ratio": choose([0.5, 1.0])}
    return Options(
        failure_ratio=choose([0.25, 0.5, 1.0]),
        minimum_throughput=choose([1, 3, 8]),
        sampling_duration=SAMPLING,
        **choose([{}, timed]),
        break_duration=BREAK,
        break_growth=choose([1.0, 2.0]),
        break_max=choose([BREAK, 3 * BREAK]),
        half_open_probes=choose([1, 2, 3]),
        probe_timeout=PROBE_TIMEOUT,
    ).changed({"consecutive_failures": choose([None, None, 1, 2, 4])})


#: What may change while calls run. The windows in time stay: a list cannot say what a bucket keeps.
CHANGES = {
    "failure_ratio": [0.25, 0.5, 1.0],
    "minimum_throughput": [1, 3, 8],
    "slow_call_ratio": [0.5, 1.0],
    "break_duration": [BREAK / 2, BREAK],
    "break_growth": [1.0, 2.0],
    "break_max": [BREAK, 3 * BREAK],
    "half_open_probes": [1, 2, 3],
    "probe_timeout": [PROBE_TIMEOUT / 2, PROBE_TIMEOUT],
}


class CircuitMachine(RuleBasedStateMachine):
    calls = Bundle("calls")

    @initialize(data=st.data())
    def begin(self, data):
        self.pair = Pair(options(lambda choices: data.draw(st.sampled_from(choices))))

    @property
    def model(self):
        return self.pair.model

    @rule(target=calls)
    def call_begins(self):
        return self.pair.begin()

    @rule(begun=consumes(calls), outcome=st.sampled_from(OUTCOMES))
    def call_ends(self, begun, outcome):
        self.pair.end(begun, outcome)

    @rule(outcomes=st.lists(st.sampled_from([OK, SLOW, FAILED, FAILED]), min_size=1, max_size=6))
    def calls_come_and_go(self, outcomes):
        for outcome in outcomes:
            self.pair.end(self.pair.begin(), outcome)

    @rule(seconds=st.sampled_from([0.25, 1.0, 1.0, 2.5, 3.0, 9.0, 10.0, 3600.0]))
    def time_passes(self, seconds):
        self.pair.clock._now += round(seconds * 1e9)

    @precondition(lambda self: self.model.state is State.OPEN)
    @rule(target=calls, early=st.sampled_from([0.0, 0.0, 0.0, 0.25]))
    def the_break_ends(self, early):
        self.time_passes(max(0.0, self.model.reopens - early - self.pair.now))
        return self.call_begins()

    @precondition(lambda self: self.model.probes)
    @rule(target=calls, early=st.sampled_from([0.0, 0.0, 0.25]))
    def the_oldest_probe_hangs(self, early):
        due = self.model.probes[0].at + self.model.options.probe_timeout
        self.time_passes(max(0.0, due - early - self.pair.now))
        return self.call_begins()

    @rule(seconds=st.sampled_from([-3600.0, 3600.0]))
    def the_wall_clock_jumps(self, seconds):
        self.pair.clock.jump_wall(seconds)

    @rule(state=st.sampled_from([State.ISOLATED, State.CLOSED, None, None, None, None]))
    def somebody_interferes(self, state):
        if state is not None:
            self.pair.interfere(state)
        elif self.model.state is State.ISOLATED:
            self.pair.interfere(State.CLOSED)

    @rule(data=st.data(), option=st.sampled_from(sorted(CHANGES)))
    def options_change(self, data, option):
        self.pair.reconfigure(**{option: data.draw(st.sampled_from(CHANGES[option]))})

    @invariant()
    def no_more_probes_than_permits(self):
        if hasattr(self, "pair") and self.pair.circuit.state is State.HALF_OPEN:
            assert self.pair.circuit._passed < self.model.options.half_open_probes


TestScenario15BreakerAgainstItsModel = CircuitMachine.TestCase
TestScenario15BreakerAgainstItsModel.settings = settings(stateful_step_count=50)


@pytest.mark.parametrize("seed", range(8))
def test_15_ten_thousand_steps_while_the_wall_clock_jumps_by_hours(seed):
    chance = random.Random(seed)
    pair, running, seen = Pair(options(chance.choice)), [], set()
    for _ in range(10_000):
        seen.add(pair.circuit.state)
        act = chance.random()
        if act < 0.4:
            running.append(pair.begin())
        elif act < 0.8 and running:
            begun = running.pop(chance.randrange(len(running)))
            pair.end(begun, chance.choice(OUTCOMES))
        elif act < 0.95:
            pair.clock._now += round(chance.choice([0.25, 0.5, 2.0, 5.0, 8.0]) * 1e9)
        elif act < 0.97:
            pair.clock.jump_wall(chance.choice([-3600.0, 3600.0]))
        elif act < 0.98:
            pair.interfere(chance.choice([State.ISOLATED, State.CLOSED, State.CLOSED]))
        else:
            option = chance.choice(sorted(CHANGES))
            pair.reconfigure(**{option: chance.choice(CHANGES[option])})
    assert seen == set(State)
