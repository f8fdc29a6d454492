"""What a Hedge says while it works."""

from __future__ import annotations

from dataclasses import dataclass

from prodkit.events import Event


@dataclass(frozen=True, slots=True)
class HedgeSent(Event):
    """No good answer within `delay` seconds: attempt number `attempt` began beside the others."""

    attempt: int
    delay: float


@dataclass(frozen=True, slots=True)
class HedgeWon(Event):
    """Attempt number `attempt`, which was not the first, had the first good answer."""

    attempt: int


@dataclass(frozen=True, slots=True)
class HedgeWithheld(Event):
    """It was time for a further attempt, and `why` says what forbade it."""

    why: str
