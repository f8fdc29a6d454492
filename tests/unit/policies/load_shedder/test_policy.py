import asyncio
import sys
from datetime import timedelta
from math import inf, nan

import pytest

from prodkit import Call, Doorway, Kind, Pipeline
from prodkit.errors import Code, ConfigurationError, OverloadedError
from prodkit.policies.load_shedder import CallShed, LimitChanged, LoadShedder, Priority
from prodkit.testing import EventRecorder, ManualClock

pytestmark = pytest.mark.anyio


class Guarded:
    """Calls that run until the test lets them end."""

    def __init__(self, **options):
        self.clock = ManualClock()
        self.shedder = LoadShedder(clock=self.clock, **options)
        self.heard = EventRecorder()
        self.handler = Pipeline(self.heard, self.shedder).bind(self.leaf)
        self.release = asyncio.Event()

    async def leaf(self, call):
        await self.release.wait()
        return call.operation

    async def come(self, *priorities):
        tasks = [
            asyncio.create_task(self.handler(Call("op", metadata={"priority": priority})))
            for priority in priorities
        ]
        await self.clock.settle()
        return tasks

    async def end(self, tasks):
        self.release.set()
        await asyncio.gather(*tasks)
        self.release.clear()


def by_metadata(call):
    return call.metadata["priority"]


@pytest.mark.parametrize("wrong", [None, 2, 3, -1, 7, "CRITICAL"])
async def test_what_is_no_priority_is_said_at_the_first_call(wrong):
    guarded = Guarded(priority=lambda _: wrong)
    [task] = await guarded.come(wrong)
    with pytest.raises(ConfigurationError, match=f"must return a Priority, not {wrong!r}"):
        await task
    assert guarded.shedder.in_flight == 0


async def test_what_is_too_much_is_refused_with_its_reasons():
    guarded = Guarded(floor=1, initial=10)
    tasks = await guarded.come(*[None] * 10)
    with pytest.raises(OverloadedError) as caught:
        await tasks[9]
    error = caught.value
    assert (error.code, error.reason, error.policy) == (
        Code.UNAVAILABLE,
        "OVERLOADED",
        "load_shedder",
    )
    assert (error.measured, error.threshold, error.retry_after) == (9, 9, 0.1)
    assert str(error) == (
        "9 calls are in flight, and a call of priority DEFAULT must be one of 9 at most"
    )
    assert error.refuses(guarded.heard.records[0][0])
    assert guarded.heard.events == [CallShed("load_shedder", Priority.DEFAULT, 9, 9, 0.0, 0.1)]
    assert guarded.shedder.in_flight == 9
    await guarded.end(tasks[:9])
    assert guarded.shedder.in_flight == 0


async def test_lower_priorities_are_refused_first():
    guarded = Guarded(floor=1, initial=10, priority=by_metadata)
    shed, default, critical = Priority.SHEDDABLE, Priority.DEFAULT, Priority.CRITICAL
    tasks = await guarded.come(*[shed] * 6, *[default] * 5, *[critical] * 2)
    await guarded.end([task for task in tasks if not task.done()])
    refused = [
        (event.priority, event.in_flight, event.limit) for event in guarded.heard.of(CallShed)
    ]
    assert refused == [(shed, 5, 5), (default, 9, 9), (critical, 10, 10)]
    assert sum(task.exception() is not None for task in tasks) == 3


async def test_the_exempt_are_neither_counted_nor_refused():
    guarded = Guarded(floor=1, initial=1, ceiling=1, priority=by_metadata)
    tasks = await guarded.come(*[Priority.CRITICAL] * 1, *[Priority.EXEMPT] * 5)
    assert guarded.shedder.in_flight == 1
    await guarded.end(tasks)


async def test_the_floor_is_for_everybody():
    guarded = Guarded(floor=4, initial=4, ceiling=4, priority=by_metadata)
    tasks = await guarded.come(*[Priority.SHEDDABLE] * 5)
    with pytest.raises(OverloadedError):
        await tasks.pop()
    await guarded.end(tasks)


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError()])
async def test_a_place_comes_back_however_the_call_ends(error):
    shedder = LoadShedder()

    async def leaf(_call):
        raise error

    with pytest.raises(type(error)):
        await Pipeline(shedder).bind(leaf)(Call("op"))
    assert shedder.in_flight == 0


async def test_a_limit_that_moved_by_a_fifth_is_told_once():
    guarded = Guarded(initial=50)
    for latency in (0.1, 0.1, *[1.0] * 6):
        used = 10 if latency < 1 else guarded.shedder.limit - guarded.shedder.limit // 10
        tasks = await guarded.come(*[None] * used)
        await guarded.clock.advance(latency)
        await guarded.end([task for task in tasks if not task.done()])
        [task.exception() for task in tasks]
    changes = guarded.heard.of(LimitChanged)
    latency = guarded.shedder._limit.latency
    last = changes[-1]
    assert last == LimitChanged(
        "load_shedder", last.before, last.limit, pytest.approx(latency), 0.0
    )
    assert [change.before for change in changes][:1] == [50]
    assert all(abs(c.limit - c.before) >= 0.2 * c.before for c in changes)
    assert changes[-1].limit < 50
    assert LimitChanged.level == "info"


async def test_who_is_refused_tells_of_it_too():
    guarded = Guarded(floor=1, initial=50)
    tasks = await guarded.come(*[None] * 20)
    guarded.shedder.reconfigure(ceiling=10)
    [refused] = await guarded.come(None)
    with pytest.raises(OverloadedError):
        await refused
    assert [type(event) for event in guarded.heard.events] == [LimitChanged, CallShed]
    assert (guarded.heard.events[0].before, guarded.heard.events[0].limit) == (50, 10)
    await guarded.end(tasks)


async def test_nothing_is_learned_from_failures():
    guarded = Guarded()

    async def leaf(_call):
        await guarded.clock.sleep(1.0)
        raise ValueError("no")

    handler = Pipeline(guarded.shedder).bind(leaf)
    tasks = [asyncio.create_task(handler(Call("op"))) for _ in range(50)]
    await guarded.clock.advance(1.0)
    assert len(await asyncio.gather(*tasks, return_exceptions=True)) == 50
    assert guarded.shedder._limit.latency == 0.0


async def test_retry_after_is_the_time_of_a_call_and_the_lag():
    guarded = Guarded(floor=1, initial=20)
    await guarded.end(await guarded.come(*[None] * 3))
    tasks = await guarded.come(*[None] * 15)
    await guarded.clock.advance(2)
    await guarded.end(tasks)
    tasks = await guarded.come(*[None] * 30)
    for _ in range(2):
        guarded.clock._now += round(0.55e9)
        await guarded.clock.advance(0)
    assert guarded.shedder.lag == pytest.approx(0.5)
    [late] = await guarded.come(None)
    with pytest.raises(OverloadedError) as caught:
        await late
    assert caught.value.retry_after == pytest.approx(
        guarded.shedder._limit.latency + guarded.shedder.lag
    )
    assert guarded.shedder._limit.latency > 1
    guarded.release.set()
    await asyncio.gather(*tasks, return_exceptions=True)


class TestReconfigure:
    async def test_what_was_learned_stays_within_the_new_bounds(self):
        shedder = LoadShedder(initial=100)
        shedder.reconfigure(ceiling=60, floor=20, tolerance=2, lag_limit=timedelta(seconds=1))
        assert shedder.limit == 60
        assert repr(shedder) == "LoadShedder(60 at once, 20 to 60, tolerance 2, lag limit 1 s)"
        shedder.reconfigure()
        assert shedder.limit == 60

    @pytest.mark.parametrize(
        "options",
        [{"floor": 0}, {"ceiling": 5}, {"floor": 2000}, {"tolerance": 1}, {"lag_limit": 0}],
    )
    async def test_all_or_nothing(self, options):
        shedder = LoadShedder()
        before = repr(shedder)
        with pytest.raises(ConfigurationError, match=r"^(floor|ceiling|tolerance|lag_limit) "):
            shedder.reconfigure(**{"lag_limit": 3, "tolerance": 3, **options})
        assert repr(shedder) == before


class TestWhatItSaysOfItself:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"floor": 0}, "floor must be a whole number of at least 1, not 0"),
            ({"floor": True}, "floor must be"),
            ({"floor": 1.5}, "floor must be"),
            ({"ceiling": 9}, "ceiling must be a whole number of at least 10, not 9"),
            ({"ceiling": inf}, "ceiling must be"),
            ({"initial": 5}, "initial must be a whole number of at least 10, not 5"),
            ({"initial": 100.0}, "initial must be"),
            ({"initial": 1001}, "initial must be"),
            ({"tolerance": 1}, "tolerance must be a number above 1, not 1"),
            ({"tolerance": nan}, "tolerance must be"),
            ({"tolerance": inf}, "tolerance must be"),
            ({"tolerance": True}, "tolerance must be"),
            ({"tolerance": "2"}, "tolerance must be"),
            ({"lag_limit": 0}, "lag_limit must be a positive number of seconds, not 0"),
        ],
    )
    def test_options_out_of_range_are_refused_by_name(self, options, message):
        with pytest.raises(ConfigurationError, match=message):
            LoadShedder(**options)

    def test_it_is_for_what_comes_in(self):
        pipeline = Pipeline(LoadShedder())
        with pytest.raises(ConfigurationError, match="sheds what comes in"):
            pipeline.admit(Doorway("client", Kind.CLIENT))
        pipeline.admit(Doorway("server", Kind.SERVER))

    def test_one_line_with_its_options(self):
        assert repr(LoadShedder()) == (
            "LoadShedder(100 at once, 10 to 1000, tolerance 1.5, lag limit 0.05 s)"
        )

    async def test_it_can_be_asked(self):
        shedder = LoadShedder()
        assert (shedder.limit, shedder.in_flight, shedder.lag) == (100, 0, 0.0)


async def test_a_good_call_pays_no_more_than_seven_python_calls():
    handler = Pipeline(LoadShedder()).bind(asyncio.sleep)
    calls = []

    def profile(frame, event, _argument):
        if event == "call":
            calls.append(frame.f_code.co_name)

    async def leaf(_call):
        return None

    handler = Pipeline(LoadShedder()).bind(leaf)
    await handler(Call("op"))
    call = Call("op")
    sys.setprofile(profile)
    try:
        await handler(call)
    finally:
        sys.setprofile(None)
    calls.remove("leaf")
    assert len(calls) <= 7, calls
