import asyncio

import pytest

from prodkit.service.workers import Worker
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock():
    return ManualClock()


class Job:
    """Does what the script says, one entry a run: None, an exception, or seconds to take."""

    def __init__(self, clock, *script):
        self.clock = clock
        self.script = list(script)
        self.runs = []
        self.cancelled = 0

    async def __call__(self):
        self.runs.append(self.clock.monotonic() - 1000.0)
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        if step is not None:
            try:
                await self.clock.sleep(step)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise


def worker(job, **options):
    options = {"interval": 10, "jitter": 0.0, "clock": job.clock} | options
    return Worker("job", job, **options)


async def test_it_runs_at_once_and_every_interval_after_a_run(clock):
    job = Job(clock, None, 5)
    w = worker(job)
    await w.start()
    await clock.advance(36)
    assert job.runs == [0, 10, 25, 35]
    await w.stop(0)


async def test_jitter_spreads_the_pauses(clock):
    job, readings = Job(clock), iter([0.0, 1.0, 0.5])
    w = worker(job, jitter=0.5, random=lambda: next(readings, 0.5))
    await w.start()
    await clock.advance(31)
    assert job.runs == [0, 5, 20, 30]
    await w.stop(0)


async def test_errors_back_off_and_a_success_resets(clock):
    fail = OSError("away")
    job = Job(clock, fail, fail, fail, fail, None, fail)
    w = worker(job, backoff_initial=1, backoff_max=4)
    await w.start()
    await clock.advance(22.5)
    assert job.runs == [0, 1, 3, 7, 11, 21, 22]
    await w.stop(0)


async def test_stop_lets_the_run_under_way_finish(clock):
    job = Job(clock, 3)
    w = worker(job)
    await w.start()
    await clock.advance(1)
    stopping = asyncio.create_task(w.stop(5))
    await clock.advance(2)
    assert stopping.done()
    assert job.cancelled == 0
    await clock.advance(60)
    assert job.runs == [0]


async def test_stop_cuts_the_run_that_outlives_its_grace(clock):
    job = Job(clock, 30)
    w = worker(job)
    await w.start()
    await clock.advance(1)
    stopping = asyncio.create_task(w.stop(5))
    await clock.advance(5)
    assert stopping.done()
    assert job.cancelled == 1


async def test_cancelling_stop_cuts_the_run(clock):
    job = Job(clock, 30)
    w = worker(job)
    await w.start()
    await clock.settle()
    stopping = asyncio.create_task(w.stop(5))
    await clock.settle()
    stopping.cancel()
    await clock.settle()
    assert job.cancelled == 1


async def test_a_pause_ends_when_told_to_stop(clock):
    job = Job(clock)
    w = worker(job)
    await w.start()
    await clock.settle()
    await w.stop(5)
    await clock.advance(60)
    assert job.runs == [0]


async def test_a_long_running_job_is_cancelled_at_once(clock):
    job = Job(clock, 3600)
    w = worker(job, interval=None)
    await w.start()
    await clock.settle()
    await w.stop(20)
    assert job.cancelled == 1


async def test_a_long_running_job_that_fails_is_tried_again_and_one_that_ends_is_done(clock):
    job = Job(clock, OSError("away"), 5)
    w = worker(job, interval=None)
    await w.start()
    await clock.advance(60)
    assert job.runs == [0, 1]
    await w.stop(0)


async def test_an_essential_worker_dies_of_its_first_error(clock):
    w = worker(Job(clock, OSError("away")), essential=True)
    await w.start()
    with pytest.raises(OSError, match="away"):
        await w.wait()
    await w.stop(0)


async def test_an_essential_worker_that_ends_has_died_too(clock):
    w = worker(Job(clock, None), essential=True, interval=None)
    await w.start()
    await w.wait()
    await w.stop(0)


async def test_nobody_learns_of_a_worker_that_is_not_essential(clock):
    w = worker(Job(clock, OSError("away"), None), interval=None)
    await w.start()
    waiting = asyncio.create_task(w.wait())
    await clock.advance(60)
    assert not waiting.done()
    waiting.cancel()
    await w.stop(0)


@pytest.mark.parametrize("options", [{"interval": 0}, {"jitter": 2}, {"backoff_max": -1}])
async def test_options_are_checked_by_name(clock, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        worker(Job(clock), **options)
