"""What a queue is made of in RabbitMQ: names, arguments, and the bindings of its types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

from prodkit.errors import ConfigurationError

Arguments: TypeAlias = dict[str, Any]

#: The header by which ordered messages find their partition.
HASH_HEADER = "x-prodkit-hash"
_LONGEST_NAME = 200  # bytes; AMQP takes 255, suffixes of ours included
_OURS = re.compile(r"\.(dead|members|seat|retry\.[\d.]+s|\d+)$")
_SHORTEST_STEP = 0.125
_LONGEST_STEP = 98304.0


@dataclass(frozen=True, slots=True)
class Topology:
    """The parts of one queue.

    All types go to one topic exchange; each queue has an exchange of its own behind it, a fanout
    or, if it is ordered, a consistent hash over `partitions` queues of which each has a single
    active consumer. Retries and replays enter there, and so reach no other queue.
    """

    exchange: str
    queue: str
    ordered: bool
    partitions: int

    def __post_init__(self) -> None:
        if not self.queue or len(self.entry.encode()) > _LONGEST_NAME:
            raise ConfigurationError(
                f"queue must be a name of 1 to {_LONGEST_NAME} bytes, the exchange's name and a "
                f"dot included, not {self.queue!r}"
            )
        if _OURS.search(self.queue):
            raise ConfigurationError(
                "queue must not end like the parts of one, with .dead, .members, .seat, .retry.1s"
                f" or a number: {self.queue!r}"
            )

    @property
    def entry(self) -> str:
        """The exchange of this queue alone."""
        return entry(self.exchange, self.queue)

    @property
    def dead(self) -> str:
        """The queue of dead letters."""
        return f"{self.entry}.dead"

    @property
    def members(self) -> str:
        """The queue whose consumers are counted: one for each process that shares partitions."""
        return f"{self.entry}.members"

    @staticmethod
    def seat(queue: str) -> str:
        """Return the exclusive queue that says whose `queue` is; it goes with its connection."""
        return f"{queue}.seat"

    @property
    def queues(self) -> list[str]:
        """The queues that are consumed."""
        if not self.ordered:
            return [self.entry]
        return [f"{self.entry}.{number}" for number in range(self.partitions)]

    @property
    def beyond(self) -> str:
        """The partition that must not exist: if it does, there were more of them once."""
        return f"{self.entry}.{self.partitions}"

    def entry_arguments(self) -> Arguments | None:
        """Return the arguments of the queue's own exchange."""
        return {"hash-header": HASH_HEADER} if self.ordered else None

    def queue_arguments(self) -> Arguments:
        """Return the arguments of a queue that is consumed.

        RabbitMQ 4 gives up a message after 20 returns by itself: then it is a dead letter.
        """
        active = {"x-single-active-consumer": True} if self.ordered else {}
        return {**_moving_on("", self.dead), **active}

    def dead_arguments(self) -> Arguments:
        """Return the arguments of the queue of dead letters."""
        return {"x-queue-type": "quorum"}

    def retry(self, step: float) -> tuple[str, Arguments]:
        """Return the name and the arguments of the queue where messages wait for `step` seconds."""
        arguments = {**_moving_on(self.entry), "x-message-ttl": int(step * 1000)}
        return f"{self.entry}.retry.{step:g}s", arguments


def _moving_on(exchange: str, routing_key: str | None = None) -> Arguments:
    """Return the arguments of a quorum queue that hands on what it gives up, at least once."""
    key = {} if routing_key is None else {"x-dead-letter-routing-key": routing_key}
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",  # which at-least-once asks for
        **key,
    }


def entry(exchange: str, queue: str) -> str:
    """Return the name of a queue's own exchange, with which all its other names begin."""
    return f"{exchange}.{queue}"


def dead(exchange: str, queue: str) -> str:
    """Return the name of a queue's dead letters."""
    return f"{entry(exchange, queue)}.dead"


def routes(exchange: str) -> str:
    """Return the exchange with the same bindings as `exchange`, and the queue that they lead to.

    What is published there is dropped: it only says whether a type has a subscriber.
    """
    return f"{exchange}-routes"


def pattern(type_: str) -> str:
    """Return the topic pattern for a name, or for a prefix of whole words as in `orders.*`.

    Raises ConfigurationError for what a topic exchange cannot say: `order*`.
    """
    prefix, star = type_.removesuffix("*"), type_.endswith("*")
    if "*" in prefix or "#" in prefix or (star and prefix and not prefix.endswith(".")):
        raise ConfigurationError(
            f"a type is a name, or a prefix that ends with a dot and *, as in orders.*: {type_!r}"
        )
    if not star:
        return type_
    return f"{prefix}*.#" if prefix else "#"


def step_for(delay: float) -> float:
    """Return how long a retry waits that asked for `delay` seconds: never less, at most half more.

    Each step is a queue, for within one queue a short wait would stand behind a long one. Steps
    are 1/8, 3/16, 1/4, 3/8 ... 1, 1.5, 2, 3, 4, 6, 8 ... seconds, up to more than a day; no delay
    is no step.
    """
    if delay <= 0:
        return 0.0
    step = _SHORTEST_STEP
    while step < delay and step < _LONGEST_STEP:
        if step * 1.5 >= delay:
            return step * 1.5
        step *= 2
    return min(step, _LONGEST_STEP)
