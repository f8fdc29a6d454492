"""Creating what a queue is made of; all of it may be there already."""

from __future__ import annotations

from collections.abc import Collection

import aiormq
from aiormq import Channel

from prodkit.errors import FailedPreconditionError
from prodkit.transports.amqp.failures import close
from prodkit.transports.amqp.link import Link
from prodkit.transports.amqp.topology import Topology, pattern, routes


async def declare(link: Link, channel: Channel, topology: Topology, types: Collection[str]) -> None:
    """Create exchanges, queues and bindings; bindings last, so that nothing comes too early.

    Raises FailedPreconditionError, which names what is there and is different.
    """
    entry = topology.entry
    probe = routes(topology.exchange)
    async with link.asking(f"declare queue {entry}"):
        await declare_exchanges(channel, topology.exchange)
        await channel.queue_declare(probe, durable=True, arguments={"x-message-ttl": 0})
        await channel.exchange_declare(
            entry,
            exchange_type="x-consistent-hash" if topology.ordered else "fanout",
            durable=True,
            arguments=topology.entry_arguments(),
        )
        arguments = topology.dead_arguments()
        await channel.queue_declare(topology.dead, durable=True, arguments=arguments)
        # Downwards: if this dies in between, it is the first that is missing, see below.
        for queue in reversed(topology.queues):
            arguments = topology.queue_arguments()
            await channel.queue_declare(queue, durable=True, arguments=arguments)
            await channel.queue_bind(queue, entry, routing_key="1" if topology.ordered else "")
        for type_ in types:
            await channel.exchange_bind(entry, topology.exchange, routing_key=pattern(type_))
            await channel.queue_bind(probe, probe, routing_key=pattern(type_))


async def declare_exchanges(channel: Channel, exchange: str) -> None:
    """Create what publishers need."""
    for name in (exchange, routes(exchange)):
        await channel.exchange_declare(name, exchange_type="topic", durable=True)


async def check_partitions(link: Link, topology: Topology) -> None:
    """Raise FailedPreconditionError if the queue had another number of partitions.

    Keys would move to other partitions, and overtake themselves; or partitions be forgotten.
    """
    if not topology.ordered:
        return
    fewer = await _exists(link, topology.beyond)
    first, last = topology.queues[0], topology.queues[-1]
    more = not fewer and await _exists(link, first) and not await _exists(link, last)
    if fewer or more:
        raise FailedPreconditionError(
            f"queue {topology.entry} has {'more' if fewer else 'fewer'} than"
            f" {topology.partitions} partitions: consume what it holds and delete its queues first",
            reason="QUEUE_DIFFERS",
        )


async def depth(link: Link, topology: Topology) -> tuple[int, int]:
    """Return how many messages are ready, and how many dead letters."""
    channel = await link.channel(confirms=False)
    try:
        async with link.asking(f"look at queue {topology.entry}"):
            counts = [
                (await channel.queue_declare(queue, passive=True)).message_count or 0
                for queue in (*topology.queues, topology.dead)
            ]
    finally:
        await close(channel, link.timeout)
    return sum(counts[:-1]), counts[-1]


async def _exists(link: Link, queue: str) -> bool:
    channel = await link.channel(confirms=False)
    try:
        async with link.asking(f"look at queue {queue}"):
            await channel.queue_declare(queue, passive=True)
    except FailedPreconditionError as error:
        if isinstance(error.__cause__, aiormq.ChannelNotFoundEntity):
            return False
        raise
    finally:
        await close(channel, link.timeout)
    return True
