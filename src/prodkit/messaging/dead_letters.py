"""Dead letters: what was given up, for an operator to look at, replay or drop."""

from __future__ import annotations

from dataclasses import dataclass

from prodkit.errors import InvalidArgumentError, NotFoundError
from prodkit.messaging.event import Event
from prodkit.transports.broker import Broker, DeadLetter


@dataclass(frozen=True, slots=True)
class DeadEvent:
    """A dead letter, and the event in it if it can be read."""

    letter: DeadLetter
    event: Event | None

    @property
    def traceparent(self) -> str:
        """The trace in which the event was recorded."""
        return self.letter.message.headers.get("traceparent", "")


class DeadLetters:
    """The dead letters of one queue. All methods raise UnavailableError while the broker is away.

    A replayed event keeps its id, so an inbox drops it if it had been handled after all. In an
    ordered queue it comes after what has arrived since.
    """

    def __init__(self, broker: Broker, queue: str) -> None:
        self.queue = queue
        self._broker = broker

    async def list(self, *, limit: int = 100, after: int = 0) -> list[DeadEvent]:
        """Return dead letters, oldest first, those with tags above `after`."""
        letters = await self._broker.dead_letters(self.queue, limit=limit, after=after)
        return [DeadEvent(letter, _event(letter)) for letter in letters]

    async def replay(self, tag: int) -> None:
        """Hand it out again, attempts at zero. Raises NotFoundError."""
        if not await self._broker.replay(self.queue, tag):
            raise self._missing(tag)

    async def replay_all(self) -> int:
        """Replay what is there now; return how many.

        What dies again meanwhile is left alone, and what another replays or drops is not counted.
        """
        replayed = 0
        for dead in await self.list(limit=2**31):
            replayed += await self._broker.replay(self.queue, dead.letter.tag)
        return replayed

    async def drop(self, tag: int) -> None:
        """Delete it for good. Raises NotFoundError."""
        if not await self._broker.drop(self.queue, tag):
            raise self._missing(tag)

    def _missing(self, tag: int) -> NotFoundError:
        return NotFoundError(f"queue {self.queue} has no dead letter {tag}")


def _event(letter: DeadLetter) -> Event | None:
    try:
        return Event.from_json(letter.message.body)
    except InvalidArgumentError:
        return None
