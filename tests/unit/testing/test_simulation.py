import asyncio
import time

import pytest

from prodkit import Call, Pipeline
from prodkit.errors import DeadlineExceededError
from prodkit.policies.timeout import Timeout
from prodkit.testing.simulation import DeadlockError, Simulation, simulate


async def race(sim):
    """Return who came through, in order."""
    done = []

    async def runner(name):
        for _ in range(4):
            await sim.pause()
        done.append(name)

    await asyncio.gather(*(runner(name) for name in "abcdef"))
    return "".join(done)


def test_a_seed_is_a_schedule():
    orders = simulate(race, range(100))
    assert len(set(orders)) > 90
    assert simulate(race, range(100)) == orders
    assert simulate(race, [42]) == [orders[42]]


def test_nobody_waits_for_virtual_time():
    async def scenario(sim):
        await sim.clock.sleep(3600.0)
        await asyncio.sleep(86_400.0)
        return sim.clock.monotonic(), sim.clock.wall()

    began = time.monotonic()
    assert simulate(scenario, [0]) == [(90_000.0, pytest.approx(1_700_090_000.0))]
    assert time.monotonic() - began < 30


def test_timers_run_in_their_order_and_can_be_called_off():
    async def scenario(sim):
        told = []
        sim.clock.call_later(2.0, lambda: told.append("second"))
        sim.clock.call_later(1.0, lambda: told.append("first"))
        sim.clock.call_later(1.5, lambda: told.append("never")).cancel()
        await sim.clock.sleep(5.0)
        return told

    assert simulate(scenario, [0]) == [["first", "second"]]


def test_policies_live_in_it():
    async def scenario(sim):
        async def hang(call):
            await sim.clock.sleep(60.0)

        handler = Pipeline(Timeout(2.0, clock=sim.clock)).bind(hang)
        with pytest.raises(DeadlineExceededError):
            await handler(Call("slow"))
        return sim.clock.monotonic()

    assert simulate(scenario, [0]) == [2.0]


def test_a_failing_schedule_names_its_seed():
    async def scenario(sim):
        assert sim.seed != 3

    with pytest.raises(AssertionError) as failed:
        simulate(scenario, range(10))
    assert "schedule 3;" in failed.value.__notes__[-1]


def test_what_hangs_for_ever_is_found():
    async def scenario(sim):
        await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError, match="every task waits"):
        Simulation(0).run(scenario)


def test_who_was_killed_never_comes_back():
    async def scenario(sim):
        told = []

        async def work(process):
            for step in range(10):
                await sim.reach(process)
                told.append((process, step))

        tasks = [asyncio.create_task(work(process)) for process in ("one", "two")]
        await sim.clock.sleep(0.02)
        sim.kill("one")
        killed_at = [step for process, step in told if process == "one"]
        await tasks[1]
        await sim.clock.sleep(1.0)
        return killed_at, [step for process, step in told if process == "one"]

    outcomes = simulate(scenario, range(200))
    assert all(before == after for before, after in outcomes)
    assert any(0 < len(before) < 10 for before, _ in outcomes)


def test_chance_is_the_seed_s():
    async def scenario(sim):
        return [sim.chance(0.25) for _ in range(1000)]

    [first, other] = simulate(scenario, [1, 2])
    assert 200 < sum(first) < 300
    assert first != other
    assert simulate(scenario, [1]) == [first]


def test_who_was_stopped_comes_later():
    async def scenario(sim):
        sim.stop("one", 5.0)
        await sim.reach("two")
        soon = sim.clock.monotonic()
        await sim.reach("one")
        return soon, sim.clock.monotonic()

    assert all(soon < 1.0 and late >= 5.0 for soon, late in simulate(scenario, range(50)))
