"""Acknowledgements wait for others, as long as nobody has to wait for them."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from prodkit.transports.amqp import intake as module
from prodkit.transports.amqp.intake import Intake

pytestmark = pytest.mark.anyio

AGES = 3600.0


class FakeChannel:
    """Says what it was told."""

    is_closed = False

    def __init__(self):
        self.on_consumer_cancel_callbacks = set()
        self.told = []

    async def basic_qos(self, prefetch_count):
        pass

    async def basic_consume(self, queue, receive):
        self.receive = receive
        return SimpleNamespace(consumer_tag="c")

    async def basic_ack(self, number, *, multiple, wait):
        self.told.append((number, multiple))

    async def close(self, timeout):
        self.is_closed = True


class FakeLink:
    timeout = 5.0

    def __init__(self, channel):
        self._channel = channel

    async def channel(self, *, confirms):
        return self._channel

    @asynccontextmanager
    async def asking(self, doing):
        yield


async def received(count, prefetch):
    channel = FakeChannel()
    intake = Intake(FakeLink(channel), "q", ordered=False, prefetch=prefetch, arrived=lambda: None)
    await intake.open()
    for number in range(1, count + 1):
        properties = SimpleNamespace(message_id=f"m{number}", message_type="t", headers={})
        await channel.receive(
            SimpleNamespace(
                delivery_tag=number,
                header=SimpleNamespace(properties=properties),
                routing_key="t",
                body=b"",
            )
        )
    return channel, intake, intake.window.take(count, 0.0, AGES)


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_acknowledgements_of_several_turns_are_told_in_one(monkeypatch):
    monkeypatch.setattr(module, "_GATHER", AGES)
    channel, intake, entries = await received(8, prefetch=8)
    for entry in entries[:3]:
        intake.ack(entry)
        await turns()
    assert channel.told == []
    intake.ack(entries[3])  # half of what may be unsettled: the next ones are wanted
    await turns()
    assert channel.told == [(4, True)]
    await intake.close()


@pytest.mark.parametrize("prefetch", [1, 2])
async def test_where_few_may_be_unsettled_each_is_told_at_once(monkeypatch, prefetch):
    monkeypatch.setattr(module, "_GATHER", AGES)
    channel, intake, entries = await received(prefetch, prefetch=prefetch)
    for entry in entries:
        intake.ack(entry)
        await turns()
    assert channel.told == [(number, True) for number in range(1, prefetch + 1)]
    await intake.close()


async def test_one_that_no_other_follows_is_told_soon():
    channel, intake, [entry] = await received(1, prefetch=100)
    intake.ack(entry)
    async with asyncio.timeout(10):
        while not channel.told:
            await asyncio.sleep(0.001)
    assert channel.told == [(1, True)]
    await intake.close()


async def test_what_waits_is_told_before_the_channel_closes(monkeypatch):
    monkeypatch.setattr(module, "_GATHER", AGES)
    channel, intake, entries = await received(2, prefetch=100)
    for entry in entries:
        intake.ack(entry)
    async with asyncio.timeout(10):
        await intake.close()
    assert channel.is_closed
    assert channel.told == [(2, True)]
