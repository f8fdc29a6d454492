import asyncio

import pytest

from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio


async def test_time_stands_still_until_advanced():
    clock = ManualClock(monotonic=10.0, wall=100.0)
    await clock.settle()
    assert (clock.monotonic(), clock.wall()) == (10.0, 100.0)
    await clock.advance(2.5)
    assert (clock.monotonic(), clock.wall()) == (12.5, 102.5)


async def test_ten_steps_of_a_tenth_make_one_second():
    clock = ManualClock()
    for _ in range(10):
        await clock.advance(0.1)
    assert clock.monotonic() == 1001.0


async def test_the_wall_jumps_alone():
    clock = ManualClock(wall=5000.0)
    clock.jump_wall(-3600)
    assert clock.wall() == 1400.0
    assert clock.monotonic() == 1000.0


async def test_timers_run_in_order_each_at_its_time():
    clock, ran = ManualClock(), []
    for seconds in (3.0, 1.0, 1.0, 2.0):
        clock.call_later(seconds, lambda s=seconds: ran.append((s, clock.monotonic())))
    await clock.advance(2.0)
    assert ran == [(1.0, 1001.0), (1.0, 1001.0), (2.0, 1002.0)]
    await clock.advance(0.999)
    assert len(ran) == 3
    await clock.advance(0.001)
    assert ran[-1] == (3.0, 1003.0)


async def test_a_timer_that_is_due_waits_for_the_next_advance():
    clock, ran = ManualClock(), []
    clock.call_later(-1.0, lambda: ran.append(1))
    await clock.settle()
    assert ran == []
    await clock.advance(0)
    assert ran == [1]


async def test_a_cancelled_timer_never_runs():
    clock, ran = ManualClock(), []
    handle = clock.call_later(1.0, lambda: ran.append(1))
    handle.cancel()
    handle.cancel()
    await clock.advance(2.0)
    assert ran == []


async def test_sleepers_wake_and_may_sleep_again_within_one_advance():
    clock, woken = ManualClock(), []

    async def ticker():
        for _ in range(3):
            await clock.sleep(1.0)
            woken.append(clock.monotonic())

    task = asyncio.create_task(ticker())
    await clock.advance(5.0)
    assert woken == [1001.0, 1002.0, 1003.0]
    assert task.done()


async def test_a_sleep_of_nothing_only_yields():
    clock, ran = ManualClock(), []
    asyncio.get_running_loop().call_soon(lambda: ran.append(1))
    await clock.sleep(0)
    assert ran == [1]
    assert clock.monotonic() == 1000.0


async def test_a_cancelled_sleeper_leaves_no_timer_behind():
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1.0))
    await clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [timer.run() for _, _, timer in clock._timers] == [False]


async def test_time_does_not_go_back():
    with pytest.raises(ValueError, match="must not be negative"):
        await ManualClock().advance(-0.1)
