"""Receiving from one queue: leases, and when to begin and to leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from aiormq import Channel

from prodkit.clock import Clock
from prodkit.errors import ServiceError, UnavailableError
from prodkit.transports.amqp.consumers import Consumers
from prodkit.transports.amqp.declare import declare
from prodkit.transports.amqp.failures import close
from prodkit.transports.amqp.intake import Intake
from prodkit.transports.amqp.link import Link
from prodkit.transports.amqp.topology import Topology
from prodkit.transports.amqp.window import Entry
from prodkit.transports.broker import Delivery

_TURN = 1.0
_SOON = 0.05


class Subscription:
    """Consumes a queue for as long as somebody receives.

    When a receiver was cancelled and there is no other, or nobody received or extended for a lease,
    it leaves: others get what was not handed out, and when what is in hand is settled it ends.
    """

    def __init__(
        self,
        link: Link,
        topology: Topology,
        types: Collection[str],
        *,
        prefetch: int,
        lease: Callable[[], float],
        clock: Clock,
    ) -> None:
        self.ending = False
        self._link = link
        self.topology = topology
        self._types = types
        self._lease = lease
        self._clock = clock
        self._receivers = 0
        self._abandoned = False
        self._wanted_until = 0.0
        self._error: ServiceError | None = None
        self._arrived = asyncio.Event()
        self._turn_due = asyncio.Event()
        self._served = 0
        self._consumers = Consumers(
            link, topology, self.declare, prefetch=prefetch, arrived=self._arrived.set
        )
        self._keep_until_abandoned()
        self._keeper = asyncio.create_task(self._keep(), name=f"consume {topology.entry}")

    @property
    def unsettled(self) -> int:
        """How many messages are here."""
        return sum(len(each.window) for each in self._consumers.intakes.values())

    async def declare(self, channel: Channel) -> None:
        """Create again what the queue is made of: what a broker lost, or somebody deleted."""
        await declare(self._link, channel, self.topology, self._types)

    async def restore(self) -> None:
        """Do so on a channel of its own."""
        channel = await self._link.channel(confirms=False)
        try:
            await self.declare(channel)
        finally:
            await close(channel, self._link.timeout)

    async def receive(self, limit: int, wait: float) -> list[Delivery]:
        """Take up to `limit` messages, waiting up to `wait` seconds for the first."""
        end = self._clock.monotonic() + wait
        self._receivers += 1
        self._abandoned = False
        try:
            while True:
                self._arrived.clear()
                taken = self._take(limit)
                if taken:
                    return taken
                if self._error is not None:
                    raise self._error
                now = self._clock.monotonic()
                if now >= end:
                    return []
                await _wait(self._arrived, min(end, self._due()) - now)
        except asyncio.CancelledError:
            self._abandoned = True
            raise
        finally:
            self._receivers -= 1
            self._keep_until_abandoned()

    def _keep_until_abandoned(self) -> None:
        self._wanted_until = self._clock.monotonic() + self._lease()
        if self._abandoned:
            self._turn_due.set()

    def _take(self, limit: int) -> list[Delivery]:
        now = self._clock.monotonic()
        until, taken = now + self._lease(), list[Delivery]()
        intakes = list(self._consumers.intakes.values())
        self._served += 1  # that the first partition is not always the first
        for number in range(len(intakes)):
            intake = intakes[(self._served + number) % len(intakes)]
            if intake.alive and not intake.leaving:
                entries = intake.window.take(limit - len(taken), now, until)
                taken += [_delivery(entry, self.topology.queue) for entry in entries]
        if len(taken) == limit:
            self._arrived.set()  # there may be more, for another receiver
        return taken

    def _due(self) -> float:
        intakes = self._consumers.intakes.values()
        return min((each.window.due() for each in intakes), default=float("inf"))

    def held(self, delivery: Delivery) -> tuple[Intake, Entry] | None:
        """Return what was handed out so, if it still is."""
        for intake in self._consumers.intakes.values():
            entry = intake.window.held(delivery.tag, delivery.fence)
            if entry is not None and intake.alive:
                return intake, entry
        return None

    def settled(self, intake: Intake, entry: Entry) -> None:
        """Forget a message; the next with its key may go on."""
        intake.window.settle(entry)
        self._changed(intake)

    def later(self, intake: Intake, entry: Entry, delay: float) -> None:
        """Hand it out again after `delay` seconds; its key waits."""
        if intake.leaving:
            intake.window.settle(entry)  # RabbitMQ hands it out again
        else:
            intake.window.later(entry, self._clock.monotonic() + delay)
        self._changed(intake)

    def _changed(self, intake: Intake) -> None:
        event = self._turn_due if intake.leaving else self._arrived
        event.set()

    def extend(self, deliveries: Sequence[Delivery]) -> None:
        """Begin their leases anew."""
        until = self._clock.monotonic() + self._lease()
        for delivery in deliveries:
            held = self.held(delivery)
            if held is not None:
                held[1].until = until
        if not self._abandoned:
            self._keep_until_abandoned()

    async def close(self) -> None:
        """Give back everything, at once; cancelled: without waiting for RabbitMQ to hear it."""
        self.ending = True
        self._turn_due.set()
        try:
            await asyncio.wait({self._keeper})
        finally:
            self._keeper.cancel()

    async def _keep(self) -> None:
        try:
            while not self.ending and (self._wanted() or self._consumers.intakes):
                pause = await self._turn()
                await _wait(self._turn_due, pause)
                self._turn_due.clear()
        except ServiceError as error:
            self._error = error
        finally:
            self.ending = True
            self._error = self._error or UnavailableError(f"queue {self.topology.queue} was left")
            self._arrived.set()
            # Not to be cut short: the driver closes a channel twice then, which RabbitMQ resents.
            await self._consumers.close()

    def _wanted(self) -> bool:
        if self._receivers:
            return True
        return not self._abandoned and self._clock.monotonic() < self._wanted_until

    async def _turn(self) -> float:
        """Set right what can be; return when to look again."""
        consumers = self._consumers
        await consumers.tidy()
        if not self._wanted():
            await consumers.leave(consumers.intakes)
            busy = any(each.window.taken for each in consumers.intakes.values())
            return _TURN if busy else 0.0
        await self._expire()
        try:
            changed = await consumers.balance()
        except UnavailableError as error:
            self._error = error
            self._arrived.set()
            await _wait(self._link.up, _TURN)
            return _SOON
        self._error = None
        return _SOON if changed else _TURN

    async def _expire(self) -> None:
        now = self._clock.monotonic()
        for intake in self._consumers.intakes.values():
            for entry in intake.window.expired(now):
                entry.deliveries += 1
                if intake.window.ordered:
                    self.later(intake, entry, 0.0)
                else:
                    self.settled(intake, entry)
                    await intake.give_back(entry)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _delivery(entry: Entry, queue: str) -> Delivery:
    attempt, deliveries = entry.attempts + 1, entry.deliveries + 1
    return Delivery(entry.message, queue, attempt, deliveries, entry.tag, entry.fence)
