"""A callee that is fast most of the time and slow sometimes: what hedging makes of its tail."""

import asyncio

import pytest

from prodkit import Call, Pipeline
from prodkit.policies.hedge import Hedge, RetryBudget
from prodkit.testing.simulation import Simulation

RATE = 100
RATIO, PER_SECOND = 0.1, 1.0


def percentile(latencies, share):
    return sorted(latencies)[int(len(latencies) * share)]


class Load:
    """Calls at random times, and what became of them."""

    def __init__(self, sim, leaf, *members):
        self.sim = sim
        self.leaf = leaf
        self.handler = Pipeline(*members).bind(self.counted)
        self.latencies: list[float] = []
        self.attempts = self.running = 0

    async def counted(self, call):
        self.attempts += 1
        self.running += 1
        try:
            return await self.leaf(call)
        finally:
            self.running -= 1

    async def call(self):
        begun = self.sim.clock.monotonic()
        await self.handler(Call("op", safe=True))
        self.latencies.append(self.sim.clock.monotonic() - begun)

    async def run(self, seconds):
        async with asyncio.TaskGroup() as group:
            for _ in range(RATE * seconds):
                group.create_task(self.call())
                await asyncio.sleep(self.sim.random.expovariate(RATE))


def bimodal(sim, slow=0.02, scale=1.0):
    async def leaf(call):
        mean = 1.0 if sim.chance(slow) else 0.01
        await asyncio.sleep(scale * sim.random.uniform(0.8, 1.2) * mean)

    return leaf


def hedge(sim):
    return Hedge(budget=RetryBudget(RATIO, PER_SECOND), clock=sim.clock)


@pytest.mark.parametrize("seed", range(5))
def test_it_cuts_the_tail_within_its_budget(seed):
    plain_sim, sim = Simulation(seed), Simulation(seed)
    plain = Load(plain_sim, bimodal(plain_sim))
    plain_sim.run(lambda _: plain.run(60))
    hedged = Load(sim, bimodal(sim), hedge(sim))
    sim.run(lambda _: hedged.run(60))
    assert percentile(plain.latencies, 0.99) > 0.8
    assert percentile(hedged.latencies, 0.99) < 0.05
    assert percentile(hedged.latencies, 0.5) == pytest.approx(0.01, rel=0.1)
    calls = len(hedged.latencies)
    assert hedged.attempts <= calls * (1 + RATIO) + PER_SECOND * (sim.clock.now + 1)
    assert hedged.attempts < calls * 1.09  # a twentieth, as the percentile says, and some
    assert hedged.running == 0


@pytest.mark.parametrize("seed", range(3))
def test_when_everything_becomes_slow_the_delay_follows_and_the_budget_holds(seed):
    sim = Simulation(seed)
    policy = hedge(sim)
    load = Load(sim, bimodal(sim), policy)

    async def scenario(sim):
        await load.run(40)
        before = policy.delay_of("op")
        load.leaf = bimodal(sim, scale=20.0)
        await load.run(40)
        return before, policy.delay_of("op")

    before, after = sim.run(scenario)
    assert before < 0.05 < 0.2 <= after < 0.4
    calls = len(load.latencies)
    assert load.attempts <= calls * (1 + RATIO) + PER_SECOND * (sim.clock.now + 1)


@pytest.mark.parametrize("seed", range(200))
def test_any_schedule_of_ends_and_cancellations_leaves_nothing_behind(seed):
    """Whatever happens, no attempt outlives its call, and a good answer is never given up."""

    async def scenario(sim):
        answered = set()
        running, policy = (
            set(),
            Hedge(delay=0.01, max_hedges=3, budget=RetryBudget(1.0, 1e6), clock=sim.clock),
        )

        async def leaf(call):
            running.add(call)
            try:
                await asyncio.sleep(sim.random.choice([0, 0.005, 0.01, 0.02, 0.03, 0.5]))
                if sim.chance(0.4):
                    raise ConnectionError
            except asyncio.CancelledError:
                await asyncio.sleep(sim.random.choice([0, 0, 0.01]))
                if sim.chance(0.1):
                    return "late answer"
                raise
            else:
                answered.add(call.request_id)
                return "answer"
            finally:
                running.discard(call)

        handler = Pipeline(policy).bind(leaf)
        calls = [Call("op", safe=True, request_id=str(number)) for number in range(10)]
        tasks = [asyncio.create_task(handler(call)) for call in calls]
        for task in tasks:
            if sim.chance(0.3):
                asyncio.get_running_loop().call_later(
                    sim.random.choice([0, 0.005, 0.01, 0.015, 0.02]), task.cancel
                )
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert not running
        assert asyncio.all_tasks() == {asyncio.current_task()}
        for call, result in zip(calls, ended, strict=True):
            if isinstance(result, ConnectionError):
                assert call.request_id not in answered
            else:
                assert result in {"answer", "late answer"} or type(result) is asyncio.CancelledError

    Simulation(seed).run(scenario)
