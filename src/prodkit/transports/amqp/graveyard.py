"""The dead letters of one queue: looked at, taken out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiormq import Channel
from aiormq.abc import DeliveredMessage

from prodkit.errors import FailedPreconditionError
from prodkit.transports.amqp.failures import away, close, quietly
from prodkit.transports.amqp.headers import dead_letter_of
from prodkit.transports.amqp.link import Link
from prodkit.transports.amqp.topology import Topology, dead
from prodkit.transports.broker import DeadLetter

_MOST = 65535  # AMQP's largest prefetch: no letter behind that many is seen
_PAUSE = 0.1
_SOON = 0.01

Arrivals = asyncio.Queue[DeliveredMessage]


@dataclass(slots=True)
class _Reading:
    """A look at the queue: its channel, and how many letters are to be there afterwards."""

    channel: Channel
    rest: int


class Graveyard:
    """Reads a queue of dead letters without settling them: RabbitMQ keeps all, in their order.

    A reader hides from others what it looks at, so there is one at a time: an exclusive queue says
    whose turn it is. It costs as much as there are letters before the one that is looked for.
    """

    def __init__(self, link: Link, exchange: str, queue: str) -> None:
        self._link = link
        self._queue = queue
        self._name = dead(exchange, queue)

    async def list(self, limit: int, after: int) -> list[DeadLetter]:
        """Return the first `limit` letters with tags above `after`, by tag."""
        found: list[DeadLetter] = []
        async with self._reading() as reading:
            async for _, letter in self._read(reading):
                if letter.tag > after:
                    found.append(letter)
                if len(found) > 2 * limit:
                    found = _first(found, limit)
        return _first(found, limit)

    async def take(
        self, tag: int, use: Callable[[DeadLetter], Awaitable[None]] | None = None
    ) -> bool:
        """Remove a letter, after `use` has returned if there is one; say whether it was there."""
        async with self._reading() as reading:
            async for delivered, letter in self._read(reading):
                if letter.tag == tag:
                    if use is not None:
                        await use(letter)
                    async with self._link.asking(f"remove a message of queue {self._name}"):
                        await reading.channel.basic_ack(delivered.delivery_tag or 0)
                    reading.rest -= 1
                    return True
        return False

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[_Reading]:
        """Have the queue for oneself; its close gives back what was not removed."""
        seat = await self._sit_down()
        try:
            channel = await self._link.channel(confirms=False)
            try:
                async with self._link.asking(f"read queue {self._name}"):
                    stated = await channel.queue_declare(self._name, passive=True)
                    await channel.basic_qos(prefetch_count=_MOST)
                reading = _Reading(channel, min(stated.message_count or 0, _MOST))
                yield reading
            finally:
                await close(channel, self._link.timeout)
            await quietly(self._until_back(seat, reading.rest))
        finally:
            await quietly(self._stand_up(seat))

    async def _until_back(self, seat: Channel, count: int) -> None:
        """Wait for what was read to be there for the next one: RabbitMQ takes its time for that."""
        async with self._link.asking(f"look at queue {self._name}"):
            while await self._ready(seat) < count:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(_SOON)

    async def _ready(self, seat: Channel) -> int:
        return (await seat.queue_declare(self._name, passive=True)).message_count or 0

    async def _stand_up(self, seat: Channel) -> None:
        async with self._link.asking(f"delete queue {Topology.seat(self._name)}"):
            await seat.queue_delete(Topology.seat(self._name))
        await close(seat, self._link.timeout)

    async def _sit_down(self) -> Channel:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._link.timeout
        while loop.time() < end:
            channel = await self._link.channel(confirms=False)
            try:
                async with self._link.asking(f"read queue {self._name}"):
                    await channel.queue_declare(Topology.seat(self._name), exclusive=True)
            except FailedPreconditionError:
                await asyncio.sleep(_PAUSE)
            else:
                return channel
        raise away(f"lets somebody else read queue {self._name} just now")

    async def _read(self, reading: _Reading) -> AsyncIterator[tuple[DeliveredMessage, DeadLetter]]:
        arrivals: Arrivals = asyncio.Queue()
        count = reading.rest
        if count:
            async with self._link.asking(f"read queue {self._name}"):
                await reading.channel.basic_consume(self._name, arrivals.put)
        for _ in range(count):
            async with self._link.asking(f"read queue {self._name}"):
                delivered = await arrivals.get()
            yield delivered, dead_letter_of(delivered, self._queue)


def _first(letters: list[DeadLetter], limit: int) -> list[DeadLetter]:
    return sorted(letters, key=lambda letter: letter.tag)[:limit]
