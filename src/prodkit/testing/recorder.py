"""Hear what policies say, to assert on it."""

from __future__ import annotations

from typing import TypeVar

from prodkit.call import Call
from prodkit.events import Event
from prodkit.pipeline import Next

T = TypeVar("T")
E = TypeVar("E", bound=Event)


class EventRecorder:
    """A middleware that records what the policies inside of it emit.

    `listen` is the same as a listener: `call.subscribe(recorder.listen)`. Put it outermost, or it
    misses what the policies before it say.
    """

    def __init__(self) -> None:
        self.records: list[tuple[Call, Event]] = []

    async def __call__(self, call: Call, proceed: Next[T]) -> T:
        """Listen to `call` while it proceeds."""
        call.subscribe(self.listen)
        return await proceed(call)

    def listen(self, call: Call, event: Event) -> None:
        """Record one event."""
        self.records.append((call, event))

    @property
    def events(self) -> list[Event]:
        """Everything heard so far, in order."""
        return [event for _, event in self.records]

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def clear(self) -> None:
        """Forget everything heard so far."""
        self.records.clear()

    def __repr__(self) -> str:
        heard = len(self.records)
        return f"EventRecorder({heard} event{'s' * (heard != 1)})"
