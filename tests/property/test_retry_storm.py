"""An outage at the bottom of three tiers, simulated for minutes: what it makes of their retries."""

import asyncio
from collections import Counter

import pytest

from prodkit import Call, Code, Pipeline, code_of
from prodkit.call import Kind
from prodkit.errors import UnavailableError
from prodkit.policies.deadline import Deadline
from prodkit.policies.retry import Retry, RetryScheduled
from prodkit.policies.timeout import Timeout
from prodkit.testing.simulation import Simulation

RATE, LIMIT = 200, 1.5
FAILS = (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)


class Tiers:
    """Edge, middle and inner service, each with a Retry in front of the next; then the leaf."""

    def __init__(self, sim: Simulation, leaf, timeouts: dict[str, float]) -> None:
        self.sim, self.clock = sim, sim.clock
        self.leaf_calls = self.late = 0
        self.requests: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        handler = self.counting(leaf)
        for name in ("inner", "middle", "edge"):
            handler = self.tier(name, timeouts.get(name, LIMIT), handler)
        self.handler = Pipeline(Deadline(LIMIT, clock=self.clock)).bind(handler)

    def counting(self, leaf):
        async def count(call):
            self.leaf_calls += 1
            self.late += self.clock.monotonic() >= call.deadline
            await leaf(call)

        return count

    def tier(self, name, timeout, below):
        retry = Retry(on=FAILS, clock=self.clock, random=self.sim.random.random)
        pipeline = Pipeline(self.watch(name), retry, Timeout(timeout, clock=self.clock))

        async def leaf(call):
            await asyncio.sleep(self.sim.random.uniform(0.0, 0.002))  # the network
            return await below(call)

        outbound = pipeline.bind(leaf)

        async def serve(inbound):
            """Be the door of a service, and its handler, which calls the next tier."""
            self.requests[name] += 1
            call = Call(name, Kind.CLIENT, safe=True, deadline=inbound.deadline)
            return await outbound(call)

        return serve

    def watch(self, name):
        async def listen(call, proceed):
            call.subscribe(lambda _, event: self.hear(name, event))
            return await proceed(call)

        return listen

    def hear(self, name, event):
        self.retries[name] += isinstance(event, RetryScheduled)

    async def load(self, seconds):
        """Send `RATE` requests a second for so long; return the codes of the answers."""
        codes: Counter[Code] = Counter()

        async def request():
            began = self.clock.monotonic()
            call = Call("GET /", Kind.SERVER)
            try:
                await self.handler(call)
            except Exception as error:
                codes[code_of(error)] += 1
            assert self.clock.monotonic() <= began + LIMIT + 1e-6

        async with asyncio.TaskGroup() as group:
            for _ in range(RATE * seconds):
                group.create_task(request())
                await asyncio.sleep(self.sim.random.expovariate(RATE))
        return codes


def down(sim):
    async def leaf(call):
        raise UnavailableError("connection refused")

    return leaf


def hanging(sim):
    async def leaf(call):
        await sim.clock.sleep(3600)

    return leaf


def worse_and_worse(sim):
    async def leaf(call):
        if sim.chance(0.5):
            raise ConnectionResetError
        await sim.clock.sleep(sim.random.expovariate(1.0))
        raise UnavailableError("after all", retry_after=sim.random.choice([None, 0.2]))

    return leaf


@pytest.mark.parametrize(
    ("outage", "seconds", "seed"),
    [
        (down, 30, 1),
        pytest.param(down, 600, 1, marks=pytest.mark.slow),
        (hanging, 20, 2),
        (hanging, 20, 3),
        (worse_and_worse, 20, 4),
    ],
)
def test_16_only_the_hop_next_to_the_failure_repeats_and_within_its_budget(outage, seconds, seed):
    sim = Simulation(seed)
    tiers = Tiers(sim, outage(sim), timeouts={"inner": 0.4})
    codes = sim.run(lambda _: tiers.load(seconds))
    requests = RATE * seconds
    assert set(tiers.requests.values()) == {requests}  # no tier above the inner one repeats
    assert tiers.leaf_calls <= 1.2 * requests + 10 * (sim.clock.now + 1)
    assert tiers.leaf_calls > 1.1 * requests  # it does repeat what it may
    assert tiers.leaf_calls == requests + tiers.retries["inner"]
    assert tiers.late == 0
    assert codes.keys() <= set(FAILS)


def test_16_where_every_hop_gives_up_by_itself_the_budgets_still_bound_the_storm():
    """Equal time-outs leave no hop the time to tell that it tried: each repeats, on its budget."""
    sim = Simulation(1)
    tiers = Tiers(sim, hanging(sim), timeouts=dict.fromkeys(("inner", "middle", "edge"), 0.4))
    sim.run(lambda _: tiers.load(20))
    share = 1.2 + 10 / RATE
    assert tiers.requests["edge"] == RATE * 20
    assert tiers.leaf_calls <= RATE * 20 * share**3
    assert tiers.late == 0
