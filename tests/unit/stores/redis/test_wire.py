"""What happens in moments too short for a real socket."""

import asyncio

import pytest

from prodkit.errors import UnavailableError
from prodkit.stores.redis.wire import Wire

pytestmark = pytest.mark.anyio


class Transport:
    def __init__(self, wire):
        self.wire = wire
        self.written = []
        self.aborted = 0

    def write(self, data):
        self.written.append(data)

    def abort(self):
        self.aborted += 1
        asyncio.get_running_loop().call_soon(self.wire.connection_lost, None)


class Side:
    """A wire, its transport, and what was told of it."""

    def __init__(self, timeout=5.0):
        self.told = []
        self.wire = Wire(timeout, lambda wire, why, served: self.told.append((why, served)))
        self.transport = Transport(self.wire)

    def connect(self):
        self.wire.connection_made(self.transport)
        self.wire.release()
        return self


async def test_what_is_asked_before_the_connection_is_there_goes_after_the_greeting():
    side = Side()
    asked = [side.wire.ask(b"one"), side.wire.ask(b"two")]
    await asyncio.sleep(0)
    side.wire.connection_made(side.transport)
    greeting = asyncio.create_task(side.wire.greet([b"hello"]))
    await asyncio.sleep(0)
    side.wire.data_received(b"+hi\r\n")
    assert await greeting == [b"hi"]
    side.wire.release()
    side.wire.data_received(b":1\r\n:2\r\n")
    assert [await waiter for waiter in asked] == [1, 2]
    assert side.transport.written == [b"hello", b"onetwo"]


async def test_a_wire_that_was_cut_before_it_was_connected_is_closed_at_once():
    side = Side()
    asked = side.wire.ask(b"one")
    side.wire.cut("took too long")
    side.wire.cut("twice")
    with pytest.raises(UnavailableError, match="took too long"):
        await asked
    side.wire.connection_made(side.transport)
    assert side.transport.aborted == 1
    with pytest.raises(UnavailableError, match="took too long"):
        await side.wire.greet([b"hello"])
    with pytest.raises(UnavailableError, match="took too long"):
        side.wire.release()
    await side.wire.gone()
    await side.wire.gone()
    assert side.told == [("took too long", False)]


async def test_who_is_cancelled_in_the_turn_of_asking_has_its_answer_dropped():
    side = Side().connect()
    first, second = side.wire.ask(b"one"), side.wire.ask(b"two")
    first.cancel()
    await asyncio.sleep(0)
    side.wire.data_received(b":1\r")
    side.wire.data_received(b"\n:2\r\n")
    assert await second == 2
    assert side.wire.pending == 0


async def test_a_wire_that_ends_tells_why_and_whether_it_had_served():
    side = Side().connect()
    side.wire.connection_lost(ConnectionResetError("reset by peer"))
    assert side.told == [("is away: reset by peer", False)]
    later = Side().connect()
    await asyncio.sleep(0.06)
    waiter = later.wire.ask(b"one")
    later.wire.connection_lost(None)
    assert later.told == [("closed the connection", True)]
    with pytest.raises(UnavailableError, match="closed the connection"):
        await waiter


async def test_parts_of_an_answer_are_no_answer():
    side = Side(timeout=0.05).connect()
    waiter = side.wire.ask(b"one")
    await asyncio.sleep(0)
    side.wire.data_received(b"$1000\r\n")
    for _ in range(8):
        await asyncio.sleep(0.01)
        side.wire.data_received(b"x")
    with pytest.raises(UnavailableError, match="gave no answer"):
        await waiter
    assert side.told == [("gave no answer in 0.05 s", False)]


async def test_what_was_answered_in_time_is_no_silence():
    side = Side(timeout=0.05).connect()
    for _ in range(5):
        waiter = side.wire.ask(b"one")
        await asyncio.sleep(0.02)
        side.wire.data_received(b":1\r\n")
        assert await waiter == 1
    await asyncio.sleep(0.1)
    assert side.told == []
    assert side.wire._check is None
