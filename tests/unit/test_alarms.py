import asyncio
import gc
import weakref
from contextvars import ContextVar

import pytest

from prodkit.alarms import Alarms
from prodkit.clock import SYSTEM_CLOCK
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio


class Ended:
    """Tasks that hang under alarms of one row, and when each was ended."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        self.clock = clock
        self.alarms = Alarms(clock, seconds)
        self.at: dict[str, float] = {}

    async def hang(self, name: str, hung: float = 1000.0) -> None:
        alarm = self.alarms.set(self.clock.monotonic() + self.alarms.seconds)
        try:
            await self.clock.sleep(hung)
        except asyncio.CancelledError:
            assert alarm.rang()
            self.at[name] = self.clock.monotonic()
        finally:
            alarm.stop()


async def test_each_rings_at_its_own_time():
    clock = ManualClock(0.0)
    ended = Ended(clock, 5.0)
    tasks = []
    for name in ("a", "b", "c"):
        tasks.append(asyncio.create_task(ended.hang(name)))
        await clock.advance(0.1)
    await clock.advance(10.0)
    await asyncio.gather(*tasks)
    assert ended.at == {"a": 5.0, "b": 5.1, "c": 5.2}


async def test_the_oldest_may_be_stopped_and_the_next_one_still_rings_in_time():
    clock = ManualClock(0.0)
    ended = Ended(clock, 5.0)
    first = asyncio.create_task(ended.hang("first", 1.0))
    await clock.advance(3.0)
    second = asyncio.create_task(ended.hang("second"))
    await clock.advance(10.0)
    await asyncio.gather(first, second)
    assert ended.at == {"second": 8.0}


async def test_however_many_are_set_one_timer_waits():
    clock = ManualClock(0.0)
    ended = Ended(clock, 5.0)
    for _ in range(100):
        await asyncio.gather(*(ended.hang("never", 0.0) for _ in range(10)))
    assert len(clock._timers) == 1
    await clock.advance(5.0)
    assert not clock._timers  # nobody is left to wait for
    task = asyncio.create_task(ended.hang("later"))
    await clock.advance(5.0)
    await task
    assert ended.at == {"later": 10.0}


async def test_a_disarmed_alarm_does_not_ring():
    clock = ManualClock()
    alarms = Alarms(clock, 1.0)
    alarm = alarms.set(clock.monotonic() + 1.0)
    alarm.disarm()
    await clock.advance(2.0)
    alarm.stop()
    assert asyncio.current_task().cancelling() == 0


def test_a_second_event_loop_has_alarms_of_its_own():
    alarms = Alarms(SYSTEM_CLOCK, 0.01)

    async def hang() -> bool:
        alarm = alarms.set(SYSTEM_CLOCK.monotonic() + 0.01)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return alarm.rang()
        finally:
            alarm.stop()
        return False

    async def leave_one_waiting() -> None:
        alarms.set(SYSTEM_CLOCK.monotonic() + 0.01)

    asyncio.run(leave_one_waiting())  # its timer went away with its loop
    assert asyncio.run(hang())


async def test_the_timer_does_not_keep_what_it_was_set_by():
    class Thing:
        pass

    alarms, context = Alarms(SYSTEM_CLOCK, 60.0), ContextVar("context")

    async def call() -> weakref.ref:
        thing = Thing()
        context.set(thing)
        alarms.set(SYSTEM_CLOCK.monotonic() + 60.0).stop()
        return weakref.ref(thing)

    kept = await asyncio.create_task(call())
    await asyncio.sleep(0)  # the loop lets go of the task
    gc.collect()
    assert kept() is None
