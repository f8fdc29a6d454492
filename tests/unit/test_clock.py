import asyncio
import time
from datetime import timedelta

import pytest

from prodkit import SYSTEM_CLOCK
from prodkit.clock import Alarm, seconds, wait_asked
from prodkit.errors import ConfigurationError, ServiceError
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio


class TestSystemClock:
    def test_it_reads_the_machines_clocks(self):
        assert abs(SYSTEM_CLOCK.monotonic() - time.monotonic()) < 60
        assert abs(SYSTEM_CLOCK.wall() - time.time()) < 60

    async def test_it_schedules_on_the_running_loop(self):
        rung = asyncio.Event()
        SYSTEM_CLOCK.call_later(0, rung.set)
        await rung.wait()
        SYSTEM_CLOCK.call_later(0, pytest.fail).cancel()
        await SYSTEM_CLOCK.sleep(0)
        await SYSTEM_CLOCK.sleep(0)


class Guarded:
    """What a policy does with an alarm, as the class docstring tells it to."""

    def __init__(self, clock, work, seconds=1.0):
        self.clock, self.work, self.seconds = clock, work, seconds

    async def __call__(self):
        alarm = Alarm(self.clock, self.seconds)
        try:
            return await self.work()
        except asyncio.CancelledError:
            if alarm.rang():
                return "rang"
            raise
        finally:
            alarm.stop()


async def hang():
    await asyncio.Event().wait()


class TestAlarm:
    async def test_work_in_time_is_left_alone(self):
        clock = ManualClock()

        async def work():
            return "done"

        assert await Guarded(clock, work)() == "done"
        await clock.advance(5.0)

    async def test_it_rings_and_takes_its_cancellation_back(self):
        clock = ManualClock()
        task = asyncio.create_task(Guarded(clock, hang)())
        await clock.advance(1.0)
        assert await task == "rang"
        assert task.cancelling() == 0

    async def test_somebody_elses_cancellation_is_not_taken_for_a_ring(self):
        clock = ManualClock()
        task = asyncio.create_task(Guarded(clock, hang)())
        await clock.settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_a_cancellation_that_comes_together_with_the_ring_wins(self):
        clock = ManualClock()
        task = asyncio.create_task(Guarded(clock, hang)())
        await clock.settle()
        task.cancel()
        for _, _, timer in clock._timers:
            timer.run()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    async def test_of_two_that_ring_together_the_outer_one_answers(self):
        clock = ManualClock()
        inner = Guarded(clock, hang)
        task = asyncio.create_task(Guarded(clock, inner)())
        await clock.settle()
        for _, _, timer in clock._timers:
            timer.run()
        assert await task == "rang"
        assert task.cancelling() == 0

    async def test_a_ring_that_the_work_swallowed_is_taken_back(self):
        clock = ManualClock()

        async def work():
            try:
                await hang()
            except asyncio.CancelledError:
                return "swallowed"

        task = asyncio.create_task(Guarded(clock, work)())
        await clock.advance(1.0)
        assert await task == "swallowed"
        assert task.cancelling() == 0

    async def test_disarmed_it_rings_no_more(self):
        clock = ManualClock()

        async def work():
            alarm = Alarm(clock, 1.0)
            alarm.disarm()
            await clock.sleep(5.0)
            alarm.stop()
            return alarm.rang()

        task = asyncio.create_task(work())
        await clock.advance(5.0)
        assert await task is False

    async def test_stopped_it_may_be_stopped_and_disarmed_again(self):
        clock = ManualClock()
        alarm = Alarm(clock, 1.0)
        alarm.stop()
        alarm.stop()
        alarm.disarm()
        await clock.advance(5.0)
        assert alarm.rang() is False
        assert asyncio.current_task().cancelling() == 0

    async def test_it_needs_a_task(self):
        failure = []

        def outside():
            try:
                Alarm(ManualClock(), 1.0)
            except RuntimeError as error:
                failure.append(str(error))

        asyncio.get_running_loop().call_soon(outside)
        await asyncio.sleep(0)
        assert failure == ["an Alarm needs a running asyncio task"]


@pytest.mark.parametrize(
    ("value", "length"),
    [(2, 2.0), (0.5, 0.5), (timedelta(minutes=1), 60.0), (1e-9, 1e-9), (1e15, 1e15)],
)
def test_a_length_of_time_is_a_number_of_seconds(value, length):
    assert seconds("limit", value) == length
    assert isinstance(seconds("limit", value), float)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), True, "1s", None])
def test_what_is_no_length_of_time_is_refused_by_name(value):
    with pytest.raises(ConfigurationError, match="limit must be a positive number of seconds, not"):
        seconds("limit", value)


@pytest.mark.parametrize("value", [1e-10, 5e-324, 1.1e15, 1e308, 10**400])
def test_seconds_refuses_what_would_round_to_nothing_or_overflow(value):
    with pytest.raises(
        ConfigurationError, match=r"^limit must be from 1e-09 to 1e\+15 seconds, not"
    ):
        seconds("limit", value)


@pytest.mark.parametrize(
    ("asked", "waited"),
    [(None, 0.0), (2.5, 2.5), (-1.0, 0.0), (1e9, 86400.0), (float("nan"), 0.0)],
)
def test_what_an_error_asks_to_wait_is_a_day_at_most(asked, waited):
    assert wait_asked(ServiceError("x", retry_after=asked)) == waited


def test_other_errors_ask_for_nothing():
    assert wait_asked(KeyError("x")) == 0.0
