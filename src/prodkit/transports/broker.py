"""What a message broker is to prodkit: messages, deliveries, and the Protocol of the adapters."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prodkit.errors import Code, ServiceError


class UnroutableError(ServiceError):
    """No queue has subscribed to a type of message; nothing of the batch was stored."""

    code = Code.FAILED_PRECONDITION
    reason = "UNROUTABLE"


@dataclass(frozen=True, slots=True)
class Message:
    """What travels: `type` routes it, `key` orders it (empty: no order), `id` identifies it."""

    id: str
    type: str
    body: bytes
    key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message handed to one consumer, until it is settled or its lease runs out.

    `attempt` counts the handlings, this one included; `deliveries` counts also those that ended
    without a word, as by a crash. `tag` and `fence` belong to the broker.
    """

    message: Message
    queue: str
    attempt: int
    deliveries: int
    tag: int
    fence: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up; `at` is Unix time."""

    tag: int
    queue: str
    message: Message
    attempts: int
    reason: str
    at: float


class Broker(Protocol):
    """At-least-once delivery from publishers to queues.

    A delivery that is not settled within `lease` seconds, nor extended, is handed out again; what
    is then said about the old delivery has no effect. Every method raises UnavailableError while
    the broker is away.
    """

    lease: float

    async def declare(
        self, queue: str, types: Collection[str], /, *, ordered: bool = False
    ) -> None:
        """Create `queue` and subscribe it to `types`: names, or prefixes as in `orders.*`.

        In an `ordered` queue a message waits until every earlier one with its key is settled.
        """

    async def publish(self, messages: Sequence[Message], /, *, mandatory: bool = True) -> None:
        """Store all `messages`, or none, in every queue that subscribed; return when confirmed.

        Raises UnroutableError if `mandatory` and a type has no subscriber.
        """

    async def receive(self, queue: str, limit: int, /, *, wait: float = 0.0) -> list[Delivery]:
        """Take up to `limit` messages, waiting up to `wait` seconds for the first.

        A receiver that is cancelled gives back what it took.
        """

    async def ack(self, delivery: Delivery, /) -> None:
        """Settle: the message was handled."""

    async def retry(self, delivery: Delivery, /, *, delay: float) -> None:
        """Hand it out again after `delay` seconds, with the next attempt number."""

    async def release(self, delivery: Delivery, /, *, delay: float = 0.0) -> None:
        """Hand it out again after `delay` seconds, as if it had not been delivered."""

    async def dead(self, delivery: Delivery, /, *, reason: str) -> None:
        """Give it up: keep it as a dead letter."""

    async def extend(self, deliveries: Sequence[Delivery], /) -> None:
        """Begin the leases of these deliveries anew."""

    async def dead_letters(
        self, queue: str, /, *, limit: int = 100, after: int = 0
    ) -> list[DeadLetter]:
        """Return dead letters of `queue`, oldest first, with tags above `after`."""

    async def replay(self, queue: str, tag: int, /) -> bool:
        """Put a dead letter back into its queue, attempts at zero; say whether it was there."""

    async def drop(self, queue: str, tag: int, /) -> bool:
        """Delete a dead letter; say whether it was there."""
