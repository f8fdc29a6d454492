import asyncio

import pytest

from prodkit.data.tasks import Loop, end
from prodkit.errors import UnavailableError
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio


async def test_a_loop_pauses_as_told_and_can_be_woken():
    clock, turns = ManualClock(), []

    async def turn() -> float:
        turns.append(clock.monotonic())
        return 10.0

    loop = Loop("test", turn, clock=clock)
    start = clock.monotonic()
    loop.start()
    await clock.advance(10)
    loop.wake()
    await clock.settle()
    assert [round(each - start) for each in turns] == [0, 10, 10]
    await loop.stop(1)
    await loop.wait()


async def test_a_loop_waits_for_what_is_away_and_dies_of_anything_else():
    clock, errors = ManualClock(), [UnavailableError("away"), KeyError("bug")]

    async def turn() -> float:
        raise errors.pop(0)

    loop = Loop("test", turn, clock=clock, away=2.0)
    loop.start()
    await clock.advance(1.9)
    assert len(errors) == 1
    await clock.advance(0.2)
    with pytest.raises(KeyError):
        await loop.wait()
    await loop.stop(0)


async def test_a_turn_that_does_not_end_is_cancelled_and_awaited():
    cancelled = []

    async def turn() -> float:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)
        return 0.0

    loop = Loop("test", turn, clock=ManualClock())
    loop.start()
    await asyncio.sleep(0)
    await loop.stop(0.0)
    assert cancelled


async def test_a_stop_that_is_cancelled_cuts_at_once():
    begun, ended = asyncio.Event(), []

    async def turn() -> float:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)
        return 0.0

    loop = Loop("test", turn, clock=ManualClock())
    loop.start()
    await begun.wait()
    stopping = asyncio.create_task(loop.stop(1000.0))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert ended


async def test_nothing_to_end_is_no_error():
    await end([], 0.0)
