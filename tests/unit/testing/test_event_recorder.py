from dataclasses import dataclass

import pytest

from prodkit import Call, Event, Pipeline
from prodkit.testing import EventRecorder


@dataclass(frozen=True, slots=True)
class Knocked(Event):
    times: int


class Opened(Event):
    pass


async def visit(call, proceed):
    call.emit(Knocked("door", 2))
    call.emit(Opened("door"))
    return await proceed(call)


async def leaf(_call):
    return "in"


@pytest.mark.anyio
async def test_it_records_what_policies_inside_of_it_say():
    recorder, call = EventRecorder(), Call("op")
    assert await Pipeline(recorder, visit).bind(leaf)(call) == "in"
    assert recorder.records == [(call, Knocked("door", 2)), (call, Opened("door"))]
    assert recorder.of(Knocked) == [Knocked("door", 2)]
    recorder.clear()
    assert recorder.events == []


@pytest.mark.anyio
async def test_it_misses_what_was_said_before_it_listened():
    recorder = EventRecorder()
    await Pipeline(visit, recorder).bind(leaf)(Call("op"))
    assert recorder.events == []


@pytest.mark.anyio
async def test_it_shows_how_much_it_heard():
    recorder = EventRecorder()
    assert repr(recorder) == "EventRecorder(0 events)"
    recorder.listen(Call("op"), Knocked("door", 1))
    assert repr(recorder) == "EventRecorder(1 event)"
