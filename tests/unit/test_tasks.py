import asyncio

import pytest

from prodkit._tasks import complete

pytestmark = pytest.mark.anyio


async def test_complete_outlasts_cancellation_and_passes_it_on():
    go_on, done = asyncio.Event(), []

    async def work() -> None:
        await go_on.wait()
        done.append(True)

    task = asyncio.create_task(complete(work()))
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done


async def test_complete_returns_what_the_work_returns():
    assert await complete(asyncio.sleep(0, "done")) == "done"


async def test_a_failure_of_the_work_is_told_before_a_cancellation():
    async def work() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        raise KeyError

    task = asyncio.create_task(complete(work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(KeyError):
        await task


async def test_work_that_cancels_itself_is_cancelled():
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await complete(work())


async def test_complete_raises_what_the_work_raises():
    async def work() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await complete(work())
