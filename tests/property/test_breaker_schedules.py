"""Scenario 14: the permits of a breaker, whatever its callers and what it guards do.

Callers come, are cancelled, time out; the dependency works, fails, hangs and answers late. What the
breaker let through, and why it changed its state, is judged from outside.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass

import pytest

from prodkit import Call, Pipeline
from prodkit.errors import CircuitOpenError, DeadlineExceededError, UnavailableError
from prodkit.policies.circuit_breaker import (
    CallRejected,
    CircuitBreaker,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    State,
)
from prodkit.policies.timeout import Timeout
from prodkit.testing.simulation import simulate

BREAK, PROBE_TIMEOUT = 1.0, 2.0


@dataclass(eq=False)
class Passed:
    """A call that the breaker let through."""

    era: int
    state: State
    since: float
    outcome: str = "running"


class World:
    """A breaker, what it guards, and those who call."""

    def __init__(self, sim):
        self.sim = sim
        self.probes = sim.random.randint(1, 5)
        self.breaker = CircuitBreaker(
            "dependency",
            failure_ratio=0.5,
            minimum_throughput=4,
            sampling_duration=5.0,
            break_duration=BREAK,
            half_open_probes=self.probes,
            probe_timeout=PROBE_TIMEOUT,
            clock=sim.clock,
        )
        members = [self.breaker]
        if sim.chance(0.5):
            members.append(Timeout(0.5, clock=sim.clock))
        self.send = Pipeline(*members).bind(self.dependency)
        self.health = "works"
        self.era = 0
        self.passed = []
        self.ends = Counter()
        self.violations = []

    async def dependency(self, call):
        mine = Passed(self.era, self.breaker.state, self.sim.clock.monotonic())
        self.passed.append(mine)
        self.judge_permits()
        health = self.health
        try:
            await self.sim.pause(0.3)
            if health == "hangs":
                await self.sim.clock.sleep(self.sim.random.uniform(1.0, 6.0))
            if health == "fails":
                raise UnavailableError("away")
        except BaseException as error:
            mine.outcome = "failed" if isinstance(error, UnavailableError) else "ended"
            raise
        late = self.sim.clock.monotonic() - mine.since >= PROBE_TIMEOUT
        mine.outcome = "late" if late else "succeeded"

    def probing(self):
        """Count the permits that are out: probes under way, and those that succeeded."""
        now = self.sim.clock.monotonic()
        return sum(
            each.outcome == "succeeded"
            or (each.outcome == "running" and now - each.since < PROBE_TIMEOUT)
            for each in self.passed
            if each.era == self.era and each.state is State.HALF_OPEN
        )

    def judge_permits(self):
        if self.probing() > self.probes:
            self.violations.append("more probes than permits")
        if self.breaker.state is State.OPEN:
            self.violations.append("passed an open circuit")

    def hear(self, call, event):
        refused = isinstance(event, CallRejected) and event.state is State.HALF_OPEN
        if refused and self.probing() < self.probes:
            self.violations.append("refused, with a permit at home")
        if not isinstance(event, CircuitOpened | CircuitHalfOpened | CircuitClosed):
            return
        passed = [each for each in self.passed if each.era == self.era]
        mine = Counter(each.outcome for each in passed)  # by a Timeout or a canceller: "ended"
        now = self.sim.clock.monotonic()
        probes = [each for each in passed if each.state is State.HALF_OPEN]
        hung = sum(now - each.since >= PROBE_TIMEOUT for each in probes)
        if isinstance(event, CircuitClosed):
            if mine["succeeded"] < self.probes:
                self.violations.append("closed by somebody else's success")
        elif isinstance(event, CircuitOpened) and mine["failed"] + mine["ended"] + hung == 0:
            self.violations.append("opened by somebody else's failure")
        self.era += 1
        self.ends[type(event).__name__] += 1

    async def caller(self):
        for _ in range(12):
            await self.sim.pause(0.8)
            await self.call()

    async def call(self):
        call = Call("op")
        call.subscribe(self.hear)
        calling = asyncio.create_task(self.send(call))
        if self.sim.chance(0.2):
            self.sim.clock.call_later(self.sim.random.uniform(0, 1.0), calling.cancel)
        try:
            await calling
        except (CircuitOpenError, UnavailableError, DeadlineExceededError) as error:
            self.ends[type(error).__name__] += 1
        except asyncio.CancelledError:
            self.ends["cancelled"] += 1

    async def weather(self):
        for _ in range(6):
            self.health = self.sim.random.choice(["works", "fails", "hangs"])
            await self.sim.clock.sleep(self.sim.random.uniform(0.1, 2.0))
        self.health = "works"

    async def run(self):
        await asyncio.gather(*(self.caller() for _ in range(15)), self.weather())
        healed = self.sim.clock.monotonic()
        while self.breaker.state is not State.CLOSED:
            await self.call()
            await self.sim.clock.sleep(0.1)
            waited = self.sim.clock.monotonic() - healed
            assert waited < BREAK + PROBE_TIMEOUT + 5.0, "stuck, with nothing wrong any more"
        assert self.violations == []
        return self.ends


async def play(sim):
    return await World(sim).run()


@pytest.mark.parametrize("schedules", [150, pytest.param(5_000, marks=pytest.mark.slow)])
def test_14_permits_come_back_and_old_results_do_not_count(schedules):
    ends = sum(simulate(play, range(schedules)), Counter())
    # That all of it happened shows that the schedules do race.
    for what in ("CircuitOpened", "CircuitHalfOpened", "CircuitClosed", "cancelled"):
        assert ends[what] > 0.6 * schedules, what
    assert ends["CircuitOpenError"] > 6 * schedules
    assert ends["DeadlineExceededError"] > 0.6 * schedules
