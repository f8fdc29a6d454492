import asyncio

import pytest

from prodkit import Call, Code
from prodkit.errors import (
    DeadlineExceededError,
    InternalError,
    NotFoundError,
    OverloadedError,
    RateLimitedError,
)
from prodkit.policies.load_shedder.limit import ConcurrencyLimit
from prodkit.policies.load_shedder.load import Load, Place
from prodkit.policies.load_shedder.priority import Priority
from prodkit.testing import ManualClock


class Watched(ConcurrencyLimit):
    """A limit that writes down what it is told."""

    def __init__(self):
        super().__init__(floor=10, ceiling=100, initial=50, tolerance=1.5)
        self.told = []

    def completed(self, now, latency, in_flight):
        self.told.append(("completed", round(latency, 3), in_flight))
        return True

    def dropped(self, now, in_flight):
        self.told.append(("dropped", now, in_flight))
        return False


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def load(clock):
    return Load(Watched(), 0.05, turned.append, clock)


turned = []


def test_a_place_is_given_back_once_and_its_time_is_learned(load, clock):
    first, second = Place(load, Call("a")), Place(load, Call("b"))
    clock._now += round(0.25e9)
    first.leave()
    first.leave()
    assert load.in_flight == 1
    second.leave()
    assert load.limit.told == [("completed", 0.25, 2), ("completed", 0.25, 1)]
    assert load.in_flight == 0


def test_it_is_given_back_when_the_first_message_leaves(load, clock):
    call = Call("stream", streaming=True)
    place = Place(load, call)
    clock._now += round(0.25e9)
    call.first_message()
    clock._now += round(60e9)
    place.leave()
    assert load.limit.told == [("completed", 0.25, 1)]


refused = OverloadedError("no", call=Call("other"), policy="p", measured=1, threshold=1)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (None, Code.OK, "completed"),
        (None, Code.NOT_FOUND, "completed"),
        (NotFoundError("no"), Code.OK, "completed"),
        (DeadlineExceededError("late"), Code.OK, "dropped"),
        (TimeoutError(), Code.OK, "dropped"),
        (None, Code.DEADLINE_EXCEEDED, "dropped"),
        (InternalError("broken"), Code.OK, None),
        (ValueError("broken"), Code.OK, None),
        (None, Code.UNAVAILABLE, None),
        (asyncio.CancelledError(), Code.OK, None),
        (None, Code.CANCELLED, None),
        (refused, Code.OK, None),
        (
            RateLimitedError("no", call=Call("x"), policy="p", measured=1, threshold=1),
            Code.OK,
            None,
        ),
    ],
)
def test_only_what_tells_of_load_is_learned_from(load, error, code, told):
    call = Call("a")
    place = Place(load, call)
    call.code = code
    place.leave(error)
    assert [entry[0] for entry in load.limit.told] == ([] if told is None else [told])
    assert load.in_flight == 0


def test_what_was_dropped_is_told_with_when_and_how_many_there_were(load, clock):
    places = [Place(load, Call(name)) for name in "ab"]
    clock._now += round(0.25e9)
    places[0].leave(TimeoutError())
    assert load.limit.told == [("dropped", clock.monotonic(), 2)]


def test_a_closed_window_is_told_with_its_call_and_shared_out(load):
    turned.clear()
    call = Call("a")
    load.limit.ceiling = 20
    load.limit.clamp()
    Place(load, call).leave()
    assert turned == [call]
    assert load.shares == [10, 18, 20]


def test_each_priority_has_its_share_and_none_less_than_the_floor(load):
    assert load.shares == [25, 45, 50]
    load.limit.floor = 30
    load.share_out()
    assert load.shares == [30, 45, 50]


@pytest.mark.anyio
async def test_a_late_loop_lowers_the_limit_and_leaves_the_sheddable_the_floor(load, clock):
    place = Place(load, Call("a"))
    for _ in range(2):
        clock._now += round(0.3e9)
        await clock.advance(0)
    assert load.lag.lag == pytest.approx(0.25)
    assert load.limit.limit == 45
    assert load.shares[Priority.SHEDDABLE] == 10
    assert load.shares[Priority.DEFAULT] == 40
    place.leave()
    await clock.advance(0.05)
    assert load.lag.lag == 0
    assert load.shares[Priority.SHEDDABLE] == 22
    assert load.lag.quiet_until < clock.monotonic()  # nobody is there, so nobody looks
