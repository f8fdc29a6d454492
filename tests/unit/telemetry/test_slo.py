"""Availability over a window that slides."""

import pytest

from prodkit.telemetry.slo import Availability
from prodkit.testing.clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def record(availability, clock, good, bad):
    for failed in [False] * good + [True] * bad:
        availability.record(clock.monotonic(), failed=failed)


def test_nobody_called_is_available(clock):
    assert Availability(clock=clock).percent() == 100.0


def test_the_share_of_calls_that_did_not_fail(clock):
    availability = Availability(clock=clock)
    record(availability, clock, 1999, 1)
    assert availability.percent() == 99.95


@pytest.mark.anyio
async def test_what_is_older_than_the_window_is_forgotten(clock):
    availability = Availability(window=60.0, clock=clock)
    record(availability, clock, 1, 1)
    await clock.advance(30)
    record(availability, clock, 2, 0)
    assert availability.percent() == 75.0
    await clock.advance(31)
    assert availability.percent() == 100.0
    record(availability, clock, 0, 2)
    assert availability.percent() == 50.0
    await clock.advance(3600)
    assert availability.percent() == 100.0


def test_the_window_is_a_duration(clock):
    with pytest.raises(ValueError, match="window"):
        Availability(window=0, clock=clock)
