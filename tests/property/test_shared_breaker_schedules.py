"""Scenarios 13 and 14 for a fleet: what a shared breaker lets through, judged from outside.

Processes share a circuit by a store that answers late, is away, hangs; processes die, callers are
cancelled, the dependency works, fails and hangs.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass

import pytest

from prodkit import Call
from prodkit.errors import CircuitOpenError, UnavailableError
from prodkit.policies.circuit_breaker import (
    BreakerStoreFailed,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    Outcome,
    SharedCircuitBreaker,
    State,
)
from prodkit.stores.memory import MemoryBreakerStore
from prodkit.testing.simulation import simulate

BREAK, LEASE, REFRESH, STORE_TIMEOUT = 1.0, 2.0, 0.3, 0.2
LATENCY = 0.05


@dataclass(eq=False)
class Probe:
    process: str
    since: float
    over: bool = False


class Witness:
    """The store as one process reaches it, and an account of the permits that it gave."""

    def __init__(self, world, process):
        self.world, self.process = world, process

    def __getattr__(self, action):
        async def ask(*args, **options):
            sim, world = self.world.sim, self.world
            await sim.reach(self.process, LATENCY)
            if world.weather_of_store == "away" or (
                world.weather_of_store == "flaky" and sim.chance(0.3)
            ):
                raise UnavailableError("no store")
            if world.weather_of_store == "hangs":
                await asyncio.sleep(60)
            options["now"] = world.now  # a shared store asks its own clock
            standing = await getattr(world.store, action)(*args, **options)
            world.account(action, args, standing)
            await sim.reach(self.process, LATENCY)
            return standing

        return ask


class World:
    """A fleet over one store, what it guards, and those who call."""

    def __init__(self, sim, *, store_fails):
        self.sim = sim
        self.store_fails = store_fails
        self.store = MemoryBreakerStore()
        self.probes = sim.random.randint(1, 4)
        self.breakers = {
            name: SharedCircuitBreaker(
                "dependency",
                Witness(self, name),
                refresh=REFRESH,
                store_timeout=STORE_TIMEOUT,
                consecutive_failures=3,
                break_duration=BREAK,
                half_open_probes=self.probes,
                probe_timeout=LEASE,
                clock=sim.clock,
            )
            for name in "abcd"
        }
        self.health, self.weather_of_store = "works", "fine"
        self.state, self.closed_until = State.CLOSED, 0.0
        self.permits = {}  # of the present half-open state: ticket -> when its lease ends
        self.passed = 0
        self.permits_given = self.probes_seen = 0
        self.running = []
        self.ends = Counter()
        self.violations = []

    @property
    def now(self):
        return self.sim.clock.monotonic()

    def account(self, action, args, standing):
        if action == "settle" and self.permits.pop(args[1], 0) > self.now:
            self.passed += args[2] is Outcome.PASSED
        if standing.state is not self.state:
            if self.state is State.CLOSED:
                self.closed_until = self.now
            self.state, self.permits, self.passed = standing.state, {}, 0
        if standing.permit:
            self.permits_given += 1
            self.permits[args[1]] = self.now + LEASE
        out = sum(end > self.now for end in self.permits.values())
        if out + self.passed > self.probes:
            self.violations.append("more permits than probes")

    async def dependency(self, call):
        name, breaker = call.payload, self.breakers[call.payload]
        closed = breaker.state is State.CLOSED
        me = Probe(name, self.now, over=closed)
        self.probes_seen += not closed and name != "d"
        self.running.append(me)
        self.judge(me, breaker, closed=closed)
        try:
            health = self.health
            await self.sim.pause(0.3)
            if health == "hangs":
                await asyncio.sleep(self.sim.random.uniform(1.0, 5.0))
            if health == "fails":
                raise UnavailableError("away")
        finally:
            me.over = True

    def judge(self, me, breaker, *, closed):
        mine = [p for p in self.running if p.process == me.process and not p.over]
        if sum(self.now - p.since < LEASE for p in mine) > self.probes:
            self.violations.append("a process sent more probes than permits")
        if self.store_fails or me.process == "d":  # it may be stopped: then it is alone
            return
        stale = self.now - self.closed_until > REFRESH + 2 * LATENCY
        if closed and self.state is not State.CLOSED and stale and not breaker._view._asking:
            self.violations.append("closed, long after the fleet opened")
        if breaker.alone:
            self.violations.append("alone, with the store there")
        if self.probes_seen > self.permits_given:
            self.violations.append("a probe without a permit")

    def hear(self, call, event):
        self.ends[type(event).__name__] += 1

    async def caller(self, process):
        for _ in range(15):
            await self.sim.reach(process, 0.6)
            await self.call(process)

    async def call(self, process):
        call = Call("op", payload=process)
        call.subscribe(self.hear)
        calling = asyncio.create_task(self.breakers[process](call, self.dependency))
        if self.sim.chance(0.2):
            self.sim.clock.call_later(self.sim.random.uniform(0, 0.5), calling.cancel)
        try:
            await calling
        except (CircuitOpenError, UnavailableError) as error:
            self.ends[type(error).__name__] += 1
        except asyncio.CancelledError:
            self.ends["cancelled"] += 1

    async def weather(self):
        for _ in range(6):
            self.health = self.sim.random.choice(["works", "fails", "fails", "hangs"])
            if self.store_fails:
                self.weather_of_store = self.sim.random.choice(["fine", "away", "hangs", "flaky"])
            await asyncio.sleep(self.sim.random.uniform(0.1, 2.0))
            if self.sim.chance(0.1):
                self.sim.stop("d", 1.5)
        self.health, self.weather_of_store = "works", "fine"

    async def run(self):
        callers = [asyncio.create_task(self.caller(p)) for p in "abcd" for _ in range(4)]
        if self.sim.chance(0.3):
            self.sim.clock.call_later(self.sim.random.uniform(0, 6), lambda: self.sim.kill("d"))
        await self.weather()
        await asyncio.wait(callers, timeout=30)
        healed = self.now
        while any(self.breakers[p].state is not State.CLOSED for p in "abc"):
            for process in "abc":
                await self.call(process)
            await asyncio.sleep(0.1)
            assert self.now - healed < BREAK + LEASE + 5.0, "stuck, with nothing wrong any more"
        assert self.violations == []
        return self.ends


async def play(sim):
    return await World(sim, store_fails=False).run()


async def play_with_a_store_that_fails(sim):
    return await World(sim, store_fails=True).run()


@pytest.mark.parametrize("schedules", [40, pytest.param(2_000, marks=pytest.mark.slow)])
def test_14_a_fleet_sends_its_probes_and_no_more(schedules):
    ends = sum(simulate(play, range(schedules)), Counter())
    for event in (CircuitOpened, CircuitHalfOpened, CircuitClosed):
        assert ends[event.__name__] > schedules, event
    assert ends["CircuitOpenError"] > 8 * schedules
    assert ends["cancelled"] > 2.5 * schedules


@pytest.mark.parametrize("schedules", [40, pytest.param(2_000, marks=pytest.mark.slow)])
def test_14_without_its_store_no_process_sends_more_either_and_none_is_stuck(schedules):
    ends = sum(simulate(play_with_a_store_that_fails, range(schedules)), Counter())
    assert ends[BreakerStoreFailed.__name__] > 2.5 * schedules
    assert ends["CircuitOpenError"] > 8 * schedules
