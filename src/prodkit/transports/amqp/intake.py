"""One consumer of one RabbitMQ queue: a channel, and the window of what came over it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from aiormq import Channel
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from prodkit.errors import ServiceError
from prodkit.transports.amqp import headers
from prodkit.transports.amqp.failures import close, quietly
from prodkit.transports.amqp.link import Link
from prodkit.transports.amqp.receipts import Receipts
from prodkit.transports.amqp.window import Entry, Window

#: Seconds that an acknowledgement waits for others, unless half of what may be unsettled waits.
_GATHER = 0.005
_serial = count(1)


class Intake:
    """Receives up to `prefetch` unsettled messages of `queue`; `arrived` is called for each.

    RabbitMQ hands out again what was not settled when the channel closes, for whatever reason.
    """

    def __init__(
        self, link: Link, queue: str, *, ordered: bool, prefetch: int, arrived: Callable[[], None]
    ) -> None:
        self.queue = queue
        self.window = Window(ordered=ordered)
        self.leaving = False
        self._link = link
        self._prefetch = prefetch
        self._arrived = arrived
        self._channel: Channel | None = None
        self._consumer = ""
        self._cancelled = False
        self._receipts = Receipts()
        self._telling: asyncio.Task[None] | None = None
        self._enough = asyncio.Event()

    @property
    def alive(self) -> bool:
        """Whether messages can still come, and be settled."""
        return self._channel is not None and not self._channel.is_closed and not self._cancelled

    async def open(self) -> None:
        """Begin to receive. Raises FailedPreconditionError, which names a queue that is missing."""
        channel = self._channel = await self._link.channel(confirms=False)
        channel.on_consumer_cancel_callbacks.add(self._on_cancel)
        doing = f"consume queue {self.queue}"
        async with self._link.asking(doing):
            await channel.basic_qos(prefetch_count=self._prefetch)
            begun = await channel.basic_consume(self.queue, self._receive)
        self._consumer = begun.consumer_tag or ""

    async def _receive(self, delivered: DeliveredMessage) -> None:
        tag = delivered.delivery_tag
        if tag is None:
            return
        self._receipts.delivered(tag)
        if self.leaving:
            return  # it comes back when the channel closes
        self.window.add(
            Entry(
                next(_serial),
                tag,
                headers.message_of(delivered),
                headers.attempts_of(delivered),
                headers.deliveries_of(delivered),
            )
        )
        self._arrived()

    def _on_cancel(self, _: Basic.Cancel) -> None:
        self._cancelled = True  # the queue is gone
        self._arrived()

    def ack(self, entry: Entry) -> None:
        """Have RabbitMQ told soon that it is settled, with others; nothing confirms it."""
        self._receipts.acknowledge(entry.server_tag)
        if 2 * self._receipts.waiting >= self._prefetch:
            self._enough.set()
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while self._receipts.waiting:
            await self._gather()
            for number, multiple in self._receipts.tell():
                try:
                    async with self._link.asking("acknowledge messages"):
                        channel = self._open_channel()
                        await channel.basic_ack(number, multiple=multiple, wait=False)
                except ServiceError:
                    return  # then they come again, as after a crash

    async def _gather(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_GATHER):
                await self._enough.wait()
        self._enough.clear()

    async def give_back(self, entry: Entry) -> None:
        """Let RabbitMQ hand it out again, as well as that goes; it counts that as a delivery."""
        self._receipts.forget(entry.server_tag)
        await quietly(self._nack(entry))

    async def _nack(self, entry: Entry) -> None:
        async with asyncio.timeout(self._link.timeout):
            await self._open_channel().basic_nack(entry.server_tag, wait=False)

    async def leave(self) -> None:
        """Receive no more, and hand out no more: others get what we have not begun.

        That waits for the close in an ordered queue, where it must not overtake what is under way.
        """
        if self.leaving:
            return
        self.leaving = True
        unused = self.window.give_back()
        if not self.window.ordered and self.alive:
            await quietly(self._cancel())
            for entry in unused:
                await self.give_back(entry)

    async def _cancel(self) -> None:
        async with asyncio.timeout(self._link.timeout):
            await self._open_channel().basic_cancel(self._consumer)

    async def close(self) -> None:
        """Close the channel; RabbitMQ hands out the rest again, in order."""
        if self._telling is not None:
            self._enough.set()
            await asyncio.wait({self._telling})
        channel, self._channel = self._channel, None
        if channel is not None:
            await close(channel, self._link.timeout)

    def _open_channel(self) -> Channel:
        if self._channel is None:
            raise ConnectionError("the channel was closed")
        return self._channel
