"""RabbitMQ as a `Broker`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from prodkit.clock import SYSTEM_CLOCK, Clock, seconds
from prodkit.errors import ConfigurationError, FailedPreconditionError
from prodkit.holding import check_nothing_held
from prodkit.transports.amqp.address import parse
from prodkit.transports.amqp.declare import check_partitions, declare, depth
from prodkit.transports.amqp.failures import close
from prodkit.transports.amqp.graveyard import Graveyard
from prodkit.transports.amqp.headers import Letter
from prodkit.transports.amqp.link import Link
from prodkit.transports.amqp.publisher import Publisher
from prodkit.transports.amqp.settlements import Settlements
from prodkit.transports.amqp.subscription import Subscription
from prodkit.transports.amqp.topology import Topology, entry, pattern
from prodkit.transports.broker import DeadLetter, Delivery, Message

_PREFETCH_MAX = 65535


class AmqpBroker:
    """A `Broker` over RabbitMQ 3.10 or later, with the plugin rabbitmq_consistent_hash_exchange.

        broker = AmqpBroker("amqp://shop:secret@rabbit/shop")
        service = Service(..., resources=[broker], consumers=[Consumer(broker, ...)])

    Queues are quorum queues, messages persistent. A publish returns when every message was routed
    and confirmed; of a batch that fails, the part before the failure may be there, so publish again
    with the same ids. Connections that are lost come back; every operation ends within `timeout`
    seconds, save `receive`, which waits as long as it is told to, and reading dead letters, where
    each letter has that long. A silent peer is found out after 3 * (`heartbeat` + 1) seconds, or by
    the first operation that waits in vain.

    All names begin with `exchange`: that of the topic exchange through which all events go.

    A delivery stays unacknowledged while it is handled, so a consumer that died is replaced at
    once, not after a lease; `lease` bounds only what a living process has forgotten. Up to
    `prefetch` messages are fetched ahead, per partition; those that a process had when it ended
    count as delivered once (RabbitMQ cannot tell that nobody saw them).

    Retries and releases of an unordered queue wait in a queue of RabbitMQ, as long as was asked for
    or up to half longer, see `step_for`. In an ordered queue they wait in the process that has the
    message, unacknowledged: its key waits with it, as it must, other keys go on, but where
    `prefetch` messages of one partition wait, the other keys of that partition wait too. Attempts
    are counted in the process then, and begin anew where it ends; wait shorter than RabbitMQ's
    consumer_timeout (30 minutes).

    An ordered queue has `partitions` queues, which its processes divide among themselves: so many
    can work on it at most. Their number cannot change while it holds messages. When processes come
    or go, a partition may stand still for some two seconds.

    `start` raises what is wrong: ConfigurationError where RabbitMQ does not let us in,
    UnavailableError where it is away; with `required=False` the service starts without it.
    """

    def __init__(
        self,
        url: str,
        *,
        exchange: str = "prodkit",
        name: str = "broker",
        lease: float = 15.0,
        timeout: float = 5.0,
        heartbeat: int = 5,
        prefetch: int = 100,
        partitions: int = 8,
        required: bool = True,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self.lease = seconds("lease", lease)
        self._exchange = exchange
        self._timeout = seconds("timeout", timeout)
        self._prefetch = _whole("prefetch", prefetch, _PREFETCH_MAX)
        self._partitions = _whole("partitions", partitions, 1000)
        self._required = required
        self._clock = clock
        self._address = parse(url)
        beat = _whole("heartbeat", heartbeat, 3600)
        # Two connections: RabbitMQ stops reading from publishers when its memory or disk is short,
        # and consumers must be able to go on then.
        self._out = Link(self._address, f"{name} publisher", timeout=self._timeout, heartbeat=beat)
        self._in = Link(self._address, f"{name} consumer", timeout=self._timeout, heartbeat=beat)
        self._publisher = Publisher(self._out, exchange)
        self._declared: dict[str, tuple[Topology, set[str]]] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._settlements = Settlements(self._subscriptions, self._publisher, clock)
        self._reading = asyncio.Lock()  # of dead letters: one after another

    async def start(self) -> None:
        """Connect. Raises ConfigurationError and UnavailableError."""
        try:
            for link in (self._out, self._in):
                await link.start(required=self._required)
        except BaseException:
            await self.stop()
            raise

    async def stop(self, grace: float = 0.0) -> None:
        """Give back what is not settled, then close; within the time of two operations."""
        try:
            async with asyncio.timeout(max(grace, self._timeout)):
                await asyncio.gather(*(each.close() for each in self._subscriptions.values()))
                await self._publisher.close()
        except TimeoutError:
            pass  # RabbitMQ does not listen: it will find the connections gone
        finally:
            self._subscriptions.clear()
            await asyncio.gather(self._in.stop(), self._out.stop())

    async def ping(self) -> None:
        """Raise UnavailableError unless RabbitMQ answers."""
        channel = await self._out.channel(confirms=False)
        async with self._out.asking("close a channel"):
            await channel.close()

    async def declare(
        self, queue: str, types: Collection[str], /, *, ordered: bool = False
    ) -> None:
        """Create `queue` and add subscriptions, as `Broker` says; earlier ones stay.

        Raises FailedPreconditionError where RabbitMQ has a queue of that name that is different:
        ordered or not, or of another number of partitions. It is done again after a reconnect.
        """
        topology = Topology(self._exchange, queue, ordered, self._partitions)
        for type_ in types:
            pattern(type_)
        await check_partitions(self._in, topology)
        _, known = self._declared.get(queue, (topology, set()))
        channel = await self._in.channel(confirms=False)
        try:
            await declare(self._in, channel, topology, known | set(types))
        finally:
            await close(channel, self._timeout)
        self._declared[queue] = topology, known | set(types)

    async def publish(self, messages: Sequence[Message], /, *, mandatory: bool = True) -> None:
        """Publish all `messages`; return when they are confirmed. Raises UnroutableError.

        Where a type has no subscriber, nothing was published. (Where its queues were deleted, or
        the connection was lost, part of the batch may be.)
        """
        check_nothing_held(f"publish to {self.name}")
        letters = [Letter(each, self._exchange, each.type) for each in messages]
        await self._publisher.publish(letters, mandatory=mandatory)

    async def receive(self, queue: str, limit: int, /, *, wait: float = 0.0) -> list[Delivery]:
        """Take up to `limit` messages, waiting up to `wait` seconds for the first.

        Without a wait it finds what was fetched ahead; the first call only begins to fetch.
        Raises FailedPreconditionError for a queue that was not declared here.
        """
        subscription = self._subscriptions.get(queue)
        if subscription is not None and subscription.ending:
            await subscription.close()
            subscription = self._subscriptions.get(queue)  # of another receiver's, by now
        if subscription is None or subscription.ending:
            subscription = self._subscriptions[queue] = self._subscribe(queue, limit)
        return await subscription.receive(limit, wait)

    def _subscribe(self, queue: str, limit: int) -> Subscription:
        if queue not in self._declared:
            raise FailedPreconditionError(
                f"queue {queue} was not declared here: declare it before you receive from it",
                reason="QUEUE_MISSING",
            )
        return Subscription(
            self._in,
            *self._declared[queue],
            prefetch=max(self._prefetch, min(limit, _PREFETCH_MAX)),
            lease=lambda: self.lease,
            clock=self._clock,
        )

    async def ack(self, delivery: Delivery, /) -> None:
        """Settle: the message was handled. It is told soon, and RabbitMQ does not confirm it."""
        self._settlements.ack(delivery)

    async def retry(self, delivery: Delivery, /, *, delay: float) -> None:
        """Hand it out again after `delay` seconds, with the next attempt number."""
        await self._settlements.again(delivery, delay, attempts=1)

    async def release(self, delivery: Delivery, /, *, delay: float = 0.0) -> None:
        """Hand it out again after `delay` seconds, as if it had not been delivered."""
        await self._settlements.again(delivery, delay, attempts=0)

    async def dead(self, delivery: Delivery, /, *, reason: str) -> None:
        """Give it up: keep it as a dead letter, confirmed before it leaves its queue."""
        await self._settlements.dead(delivery, reason)

    async def extend(self, deliveries: Sequence[Delivery], /) -> None:
        """Begin the leases of these deliveries anew."""
        for queue in {delivery.queue for delivery in deliveries}:
            subscription = self._subscriptions.get(queue)
            if subscription is not None:
                subscription.extend([each for each in deliveries if each.queue == queue])

    async def dead_letters(
        self, queue: str, /, *, limit: int = 100, after: int = 0
    ) -> list[DeadLetter]:
        """Return dead letters of `queue`, oldest first, with tags above `after`.

        Raises FailedPreconditionError for a queue that does not exist.
        """
        async with self._reading:
            return await self._graveyard(queue).list(limit, after)

    async def replay(self, queue: str, tag: int, /) -> bool:
        """Put a dead letter back into its queue, attempts at zero; say whether it was there."""

        async def publish(letter: DeadLetter) -> None:
            again = Letter(letter.message, entry(self._exchange, queue), letter.message.type)
            await self._publisher.publish([again], mandatory=True)

        async with self._reading:
            return await self._graveyard(queue).take(tag, publish)

    async def drop(self, queue: str, tag: int, /) -> bool:
        """Delete a dead letter; say whether it was there."""
        async with self._reading:
            return await self._graveyard(queue).take(tag)

    async def depths(self) -> dict[str, tuple[int, int]]:
        """Return, for each queue declared here, how many messages and dead letters it holds.

        Messages that wait for a retry, or are with another process, are not among them.
        """
        depths = {}
        for queue, (topology, _) in self._declared.items():
            here = self._subscriptions.get(queue)
            waiting, dead = await depth(self._in, topology)
            depths[queue] = waiting + (here.unsettled if here is not None else 0), dead
        return depths

    async def depth(self, queue: str, /, *, ordered: bool = False) -> tuple[int, int]:
        """Return how many messages and dead letters a queue that others declared holds.

        As `depths` does, for who only looks. Raises FailedPreconditionError for a queue that does
        not exist.
        """
        return await depth(self._in, Topology(self._exchange, queue, ordered, self._partitions))

    def _graveyard(self, queue: str) -> Graveyard:
        return Graveyard(self._in, self._exchange, queue)

    def __repr__(self) -> str:
        return f"AmqpBroker({self.name!r}, {self._address}, exchange {self._exchange!r})"


def _whole(option: str, value: int, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise ConfigurationError(f"{option} must be a whole number from 1 to {most}, not {value!r}")
    return value
