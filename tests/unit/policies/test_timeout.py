import asyncio

import pytest

from prodkit import Call, Pipeline
from prodkit.errors import ConfigurationError, DeadlineExceededError
from prodkit.policies.timeout import AttemptTimedOut, Timeout
from prodkit.testing import EventRecorder, ManualClock

pytestmark = pytest.mark.anyio


async def hang(_call):
    await asyncio.Event().wait()


async def test_an_attempt_in_time_keeps_its_result():
    clock = ManualClock()

    async def leaf(_call):
        return "answer"

    assert await Pipeline(Timeout(1.0, clock=clock)).bind(leaf)(Call("op")) == "answer"


async def test_a_late_attempt_is_ended():
    clock, recorder = ManualClock(), EventRecorder()
    call = Call("op")
    task = asyncio.create_task(Pipeline(recorder, Timeout(1.5, clock=clock)).bind(hang)(call))
    await clock.advance(1.5)
    with pytest.raises(DeadlineExceededError, match=r"within 1\.5 s") as caught:
        await task
    assert caught.value.reason == "TIMED_OUT"
    assert recorder.events == [AttemptTimedOut("timeout", 1.5)]
    assert call.deadline is None


@pytest.mark.parametrize(("whole", "seen"), [(None, 1001.0), (1000.5, 1000.5), (1009.0, 1001.0)])
async def test_downstream_sees_the_attempts_end_and_the_caller_the_whole_deadline(whole, seen):
    clock = ManualClock()
    call = Call("op", deadline=whole)

    async def leaf(call):
        return call.deadline

    assert await Pipeline(Timeout(1.0, clock=clock)).bind(leaf)(call) == seen
    assert call.deadline == whole


async def test_somebody_elses_cancellation_stays_a_cancellation():
    clock = ManualClock()
    task = asyncio.create_task(Pipeline(Timeout(1.0, clock=clock)).bind(hang)(Call("op")))
    await clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stream_is_left_alone_after_its_first_message():
    clock = ManualClock()

    async def leaf(call):
        call.first_message()
        await clock.sleep(60.0)
        return "all of it"

    task = asyncio.create_task(Pipeline(Timeout(1.0, clock=clock)).bind(leaf)(Call("op")))
    await clock.advance(60.0)
    assert await task == "all of it"


def test_a_limit_must_be_a_positive_number_of_seconds():
    with pytest.raises(ValueError, match="limit must be a positive number of seconds, not 0"):
        Timeout(0)


def test_repr():
    assert repr(Timeout(0.25)) == "Timeout(0.25 s)"


async def test_the_limit_changes_for_the_calls_that_come():
    clock = ManualClock()
    policy = Timeout(5.0, clock=clock)
    handler = Pipeline(policy).bind(hang)
    before = asyncio.create_task(handler(Call("op")))
    await clock.advance(0.0)
    policy.reconfigure(limit=1.0)
    assert policy.limit == 1.0
    after = asyncio.create_task(handler(Call("op")))
    await clock.advance(1.0)
    assert after.done()
    assert not before.done()
    await clock.advance(4.0)
    for task in (before, after):
        with pytest.raises(DeadlineExceededError):
            await task


def test_a_wrong_limit_changes_nothing():
    policy = Timeout(5.0)
    for wrong in (0, -1.0, float("nan"), "2"):
        with pytest.raises(ConfigurationError, match="limit must be a positive number"):
            policy.reconfigure(limit=wrong)
    assert policy.limit == 5.0
