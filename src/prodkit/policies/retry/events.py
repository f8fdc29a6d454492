"""What a Retry says while it works."""

from __future__ import annotations

from dataclasses import dataclass

from prodkit.errors import Code
from prodkit.events import Event


@dataclass(frozen=True, slots=True)
class RetryScheduled(Event):
    """Attempt number `attempt` failed with `code`; the next one begins in `wait` seconds."""

    attempt: int
    code: Code
    wait: float


@dataclass(frozen=True, slots=True)
class RetriesExhausted(Event):
    """After `attempts` attempts a failure was not repeated; `why` says what forbade it."""

    attempts: int
    code: Code
    why: str
