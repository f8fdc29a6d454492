"""What becomes of deliveries: acknowledged, handed out again, given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from random import getrandbits

from prodkit.clock import Clock
from prodkit.transports.amqp.headers import Letter
from prodkit.transports.amqp.intake import Intake
from prodkit.transports.amqp.publisher import Publisher
from prodkit.transports.amqp.subscription import Subscription
from prodkit.transports.amqp.topology import step_for
from prodkit.transports.amqp.window import Entry
from prodkit.transports.broker import DeadLetter, Delivery, UnroutableError

_AWAY = 1.0  # seconds until an ordered message is tried again that could not be moved
_RANDOM_BITS = 20


class Settlements:
    """Settles deliveries; what is said about one that is nobody's any more has no effect.

    A message that moves is published to its new place, and confirmed there, before it is
    acknowledged where it was: a crash in between doubles it, and loses nothing.
    """

    def __init__(
        self, subscriptions: Mapping[str, Subscription], publisher: Publisher, clock: Clock
    ) -> None:
        self._subscriptions = subscriptions
        self._publisher = publisher
        self._clock = clock
        self._last_tag = 0

    def ack(self, delivery: Delivery) -> None:
        """Settle it."""
        subscription = self._subscriptions.get(delivery.queue)
        held = None if subscription is None else subscription.held(delivery)
        if subscription is not None and held is not None:
            intake, entry = held
            intake.ack(entry)
            subscription.settled(intake, entry)

    async def again(self, delivery: Delivery, delay: float, *, attempts: int) -> None:
        """Hand it out again, with so many attempts more."""
        subscription = self._subscriptions.get(delivery.queue)
        held = None if subscription is None else subscription.held(delivery)
        if subscription is None or held is None:
            return
        intake, entry = held
        if subscription.topology.ordered:
            entry.attempts += attempts
            entry.deliveries += attempts
            subscription.later(intake, entry, delay)
        else:
            send = partial(self._send_again, subscription, entry, delay, attempts)
            await self._move(subscription, intake, entry, send)

    async def _send_again(
        self, subscription: Subscription, entry: Entry, delay: float, attempts: int
    ) -> None:
        topology, step = subscription.topology, step_for(delay)
        letter = Letter(
            entry.message,
            topology.entry,
            entry.message.type,
            attempts=entry.attempts + attempts,
            deliveries=entry.deliveries + attempts,
        )
        if step:
            await self._publisher.delay(topology, letter, step)
        else:
            await self._publisher.publish([letter], mandatory=True)

    async def dead(self, delivery: Delivery, reason: str) -> None:
        """Give it up."""
        subscription = self._subscriptions.get(delivery.queue)
        held = None if subscription is None else subscription.held(delivery)
        if subscription is None or held is None:
            return
        intake, entry = held
        reason = reason.encode(errors="replace").decode()
        at, tag = self._clock.wall(), self._tag()
        dead = DeadLetter(tag, delivery.queue, entry.message, delivery.attempt, reason, at)
        letter = Letter(entry.message, "", subscription.topology.dead, delivery.attempt, dead=dead)
        send = partial(self._publisher.publish, [letter], mandatory=True)
        await self._move(subscription, intake, entry, send)

    def _tag(self) -> int:
        """Return a number above all earlier ones; those of all processes follow the clock."""
        now = int(self._clock.wall() * 1000) << _RANDOM_BITS
        self._last_tag = max(self._last_tag + 1, now + getrandbits(_RANDOM_BITS))
        return self._last_tag

    async def _move(
        self,
        subscription: Subscription,
        intake: Intake,
        entry: Entry,
        send: Callable[[], Awaitable[None]],
    ) -> None:
        tag, fence = entry.tag, entry.fence
        try:
            try:
                await send()
            except UnroutableError:
                await subscription.restore()  # somebody deleted its new place
                await send()
        except BaseException:
            if intake.window.held(tag, fence) is not None:
                await self._keep(subscription, intake, entry)
            raise
        if intake.window.held(tag, fence) is not None:
            intake.ack(entry)
            subscription.settled(intake, entry)

    async def _keep(self, subscription: Subscription, intake: Intake, entry: Entry) -> None:
        """Have a message handed out again that could not be moved."""
        if intake.window.ordered:
            subscription.later(intake, entry, _AWAY)
        else:
            subscription.settled(intake, entry)
            await intake.give_back(entry)
