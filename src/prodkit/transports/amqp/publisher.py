"""The way into RabbitMQ: published is what was routed and confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiormq import Channel, PublishError

from prodkit.errors import InvalidArgumentError
from prodkit.transports.amqp.declare import declare_exchanges
from prodkit.transports.amqp.failures import close
from prodkit.transports.amqp.headers import Letter, check
from prodkit.transports.amqp.link import Link
from prodkit.transports.amqp.topology import Topology, routes
from prodkit.transports.broker import UnroutableError


class Publisher:
    """Publishes on one channel; what comes together is confirmed together.

    RabbitMQ confirms also what it routed nowhere: `mandatory` makes that an error. It knows no
    publishing of all or nothing, so types that were not routed yet on this channel are asked for
    first, see `routes`, and where one has no queue, nothing is published.
    """

    def __init__(self, link: Link, exchange: str) -> None:
        self._link = link
        self._exchange = exchange
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()
        self._routed: set[str] = set()
        self._steps: set[str] = set()
        self._under_way: set[str] = set()

    async def publish(self, letters: Sequence[Letter], *, mandatory: bool) -> None:
        """Return when all are confirmed. Raises UnroutableError and UnavailableError."""
        for letter in letters:
            check(letter.message)
        channel = await self._ready()
        if mandatory:
            types = {each.routing_key for each in letters if each.exchange == self._exchange}
            unknown = sorted(types - self._routed)
            if unknown:
                await self._probe(channel, unknown)
        await self._together(channel, letters, mandatory)

    async def _probe(self, channel: Channel, types: Sequence[str]) -> None:
        """Ask whether these types have a queue, storing nothing."""
        probe, lost = routes(self._exchange), list[str]()
        async with self._link.asking(f"publish {', '.join(types)}"):
            for type_ in types:
                try:
                    await channel.basic_publish(
                        b"", exchange=probe, routing_key=type_, mandatory=True, wait=False
                    )
                except PublishError:
                    lost.append(type_)
        if lost:
            raise UnroutableError(f"no queue has subscribed to {', '.join(lost)}")
        self._routed.update(types)

    async def delay(self, topology: Topology, letter: Letter, step: float) -> None:
        """Publish into the queue where messages wait for `step` seconds."""
        queue, arguments = topology.retry(step)
        channel = await self._ready()
        if queue not in self._steps:
            async with self._link.asking(f"declare queue {queue}"):
                await channel.queue_declare(queue, durable=True, arguments=arguments)
            self._steps.add(queue)
        try:
            await self._together(channel, [letter.to("", queue)], mandatory=True)
        except BaseException:
            self._steps.discard(queue)
            raise

    async def close(self) -> None:
        """Close the channel."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await close(channel, self._link.timeout)

    async def _ready(self) -> Channel:
        channel = self._channel
        if channel is not None and not channel.is_closed:
            return channel
        async with self._opening:
            if self._channel is None or self._channel.is_closed:
                self._channel = await self._open()
            return self._channel

    async def _open(self) -> Channel:
        channel = await self._link.channel(confirms=True)
        self._routed.clear()
        self._steps.clear()
        async with self._link.asking(f"declare exchange {self._exchange}"):
            await declare_exchanges(channel, self._exchange)
        return channel

    async def _together(self, channel: Channel, letters: Sequence[Letter], mandatory: bool) -> None:
        if not letters:
            return
        with self._link.naming(f"publish {letters[0].message.type}"):
            if len(letters) == 1:
                await self._one(channel, letters[0], mandatory)
            else:
                await self._all(channel, letters, mandatory)

    async def _all(self, channel: Channel, letters: Sequence[Letter], mandatory: bool) -> None:
        # Tasks begin in the order in which they were made, and so the messages go out.
        tasks = [asyncio.create_task(self._one(channel, each, mandatory)) for each in letters]
        try:
            await asyncio.wait(tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            raise
        errors = [error for task in tasks if (error := task.exception()) is not None]
        if errors:
            raise errors[0]

    async def _one(self, channel: Channel, letter: Letter, mandatory: bool) -> None:
        id_ = self._unique(letter.message.id)
        self._under_way.add(id_)
        try:
            await channel.basic_publish(
                letter.message.body,
                exchange=letter.exchange,
                routing_key=letter.routing_key,
                properties=letter.properties(id_),
                mandatory=mandatory,
                timeout=self._link.timeout,  # the driver has a timer anyway: a second costs more
                wait=False,
            )
        except BaseException as error:
            self._routed.discard(letter.routing_key)
            if isinstance(error, ValueError | TypeError):
                text = f"AMQP cannot carry the headers of message {letter.message.id}: {error}"
                raise InvalidArgumentError(text) from error
            raise
        finally:
            self._under_way.discard(id_)

    def _unique(self, id_: str) -> str:
        """Return a message id that is not under way: by it the driver knows what was returned."""
        number, unique = 1, id_
        while unique in self._under_way:
            number += 1
            unique = f"{number}/{id_}"
        return unique
