import pytest

from prodkit.policies.load_shedder.lag import INTERVAL, LoopLag
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio


class Loop:
    """A loop that the test blocks: its timers run late."""

    def __init__(self):
        self.clock = ManualClock()
        self.busy = True
        self.looks = []
        self.lag = LoopLag(lambda: self.busy, self.looked, clock=self.clock)

    def looked(self):
        self.looks.append(round(self.lag.lag, 3))

    def watch(self):
        self.lag.watch(self.clock.monotonic())

    async def block(self, seconds):
        self.clock._now += round(seconds * 1e9)
        await self.clock.advance(0)

    @property
    def timers(self):
        return sum(timer._callback is not None for _, _, timer in self.clock._timers)


async def test_a_loop_that_is_in_time_has_no_lag():
    loop = Loop()
    loop.watch()
    await loop.clock.advance(INTERVAL * 4)
    assert loop.looks == [0.0] * 4


async def test_a_single_pause_is_no_lag_but_a_lasting_one_is():
    loop = Loop()
    loop.watch()
    await loop.block(INTERVAL + 0.2)
    assert loop.looks == [0.0]
    await loop.block(INTERVAL + 0.3)
    await loop.block(INTERVAL + 0.1)
    await loop.clock.advance(INTERVAL)
    assert loop.looks == [0.0, 0.2, 0.1, 0.0]


async def test_nothing_runs_once_nobody_is_busy():
    loop = Loop()
    loop.watch()
    await loop.block(INTERVAL + 0.2)
    await loop.block(INTERVAL + 0.2)
    loop.busy = False
    await loop.block(INTERVAL + 0.2)
    assert loop.lag.lag == 0.0
    assert loop.timers == 0
    assert loop.lag.quiet_until < loop.clock.monotonic()


async def test_while_it_runs_there_is_no_need_to_start_it():
    loop = Loop()
    assert loop.lag.quiet_until < loop.clock.monotonic()
    loop.watch()
    await loop.clock.advance(3)
    assert loop.lag.quiet_until > loop.clock.monotonic() + 5
    assert loop.timers == 1


async def test_a_timer_that_a_closed_loop_took_along_is_replaced():
    loop = Loop()
    loop.watch()
    loop.clock._now += 60 * 10**9
    assert loop.lag.quiet_until < loop.clock.monotonic()
    loop.watch()
    assert loop.timers == 1
