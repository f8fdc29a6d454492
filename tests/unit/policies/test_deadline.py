import asyncio
from datetime import timedelta

import pytest

from prodkit import Call, Code, Pipeline
from prodkit.errors import ConfigurationError, DeadlineExceededError
from prodkit.policies.deadline import Deadline, DeadlineMissed
from prodkit.testing import EventRecorder, ManualClock

pytestmark = pytest.mark.anyio


async def hang(_call):
    await asyncio.Event().wait()


async def test_a_call_in_time_keeps_its_result_and_knows_its_deadline():
    clock = ManualClock()
    call = Call("op")

    async def leaf(call):
        return call.deadline

    assert await Pipeline(Deadline(2.0, clock=clock)).bind(leaf)(call) == 1002.0
    await clock.advance(5.0)


async def test_a_late_call_is_ended_and_told_why():
    clock, recorder = ManualClock(), EventRecorder()
    handler = Pipeline(recorder, Deadline(timedelta(seconds=2), clock=clock)).bind(hang)
    task = asyncio.create_task(handler(Call("op")))
    await clock.advance(1.999)
    assert not task.done()
    await clock.advance(0.001)
    with pytest.raises(DeadlineExceededError, match="within the 2 s") as caught:
        await task
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert recorder.events == [DeadlineMissed("deadline", 2.0)]


async def test_it_only_shortens():
    clock = ManualClock()
    call = Call("op", deadline=clock.monotonic() + 1.0)
    task = asyncio.create_task(Pipeline(Deadline(10.0, clock=clock)).bind(hang)(call))
    await clock.advance(1.0)
    with pytest.raises(DeadlineExceededError, match="within the 1 s"):
        await task
    assert call.deadline == 1001.0


async def test_what_has_no_time_left_does_not_start():
    clock, started = ManualClock(), []

    async def leaf(call):
        started.append(call)

    call = Call("op", deadline=clock.monotonic())
    with pytest.raises(
        DeadlineExceededError, match=r"^the deadline had passed before the call began$"
    ):
        await Pipeline(Deadline(10.0, clock=clock)).bind(leaf)(call)
    assert started == []


async def test_somebody_elses_cancellation_stays_a_cancellation():
    clock = ManualClock()
    task = asyncio.create_task(Pipeline(Deadline(2.0, clock=clock)).bind(hang)(Call("op")))
    await clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_of_two_that_ring_together_the_outer_one_answers():
    clock, recorder = ManualClock(), EventRecorder()
    handler = Pipeline(recorder, Deadline(1.0, clock=clock), Deadline(9.0, clock=clock)).bind(hang)
    task = asyncio.create_task(handler(Call("op")))
    await clock.advance(1.0)
    with pytest.raises(DeadlineExceededError):
        await task
    assert task.cancelling() == 0
    assert len(recorder.events) >= 1


async def test_the_answer_to_a_ring_may_be_another_error():
    clock = ManualClock()

    async def leaf(_call):
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("while cleaning up")

    task = asyncio.create_task(Pipeline(Deadline(1.0, clock=clock)).bind(leaf)(Call("op")))
    await clock.advance(1.0)
    with pytest.raises(LookupError):
        await task
    assert task.cancelling() == 0


async def test_a_stream_is_left_alone_after_its_first_message():
    clock, sent = ManualClock(), []

    async def leaf(call):
        await clock.sleep(1.0)
        call.first_message()
        await clock.sleep(60.0)
        sent.append("last")

    task = asyncio.create_task(Pipeline(Deadline(2.0, clock=clock)).bind(leaf)(Call("op")))
    await clock.advance(61.0)
    await task
    assert sent == ["last"]


async def test_a_stream_must_begin_in_time():
    clock = ManualClock()
    call = Call("op", streaming=True)
    task = asyncio.create_task(Pipeline(Deadline(2.0, clock=clock)).bind(hang)(call))
    await clock.advance(2.0)
    with pytest.raises(DeadlineExceededError):
        await task


async def test_a_first_message_that_crosses_the_ring_does_not_turn_it_into_a_cancellation():
    clock = ManualClock()
    call = Call("op", streaming=True)
    task = asyncio.create_task(Pipeline(Deadline(2.0, clock=clock)).bind(hang)(call))
    await clock.settle()
    for due, _, timer in list(clock._timers):
        clock._now = due
        timer.run()  # the alarm rings; the task has not been told yet
    call.first_message()
    with pytest.raises(DeadlineExceededError):
        await task


def test_a_limit_must_be_a_positive_number_of_seconds():
    for limit in (0, -1.0, float("nan"), float("inf"), timedelta(0)):
        with pytest.raises(ValueError, match="limit must be a positive number of seconds"):
            Deadline(limit)


def test_repr():
    assert repr(Pipeline(Deadline(2.5))) == "Pipeline\n  -> Deadline(2.5 s)"


async def test_the_limit_changes_for_the_calls_that_come():
    clock = ManualClock()
    policy = Deadline(5.0, clock=clock)
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
    policy = Deadline(5.0)
    for wrong in (0, -1.0, float("nan"), "2"):
        with pytest.raises(ConfigurationError, match="limit must be a positive number"):
            policy.reconfigure(limit=wrong)
    assert policy.limit == 5.0
