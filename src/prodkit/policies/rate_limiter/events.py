"""What a rate limiter says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prodkit.events import Event


@dataclass(frozen=True, slots=True)
class RateExceeded(Event):
    """A call was refused; `retry_after` is in seconds, None where it can never be admitted."""

    retry_after: float | None


@dataclass(frozen=True, slots=True)
class RateDelayed(Event):
    """A call waits `delay` seconds for its turn."""

    delay: float


@dataclass(frozen=True, slots=True)
class RateStoreFailed(Event):
    """The store failed or hung; the call was treated as `on_store_failure` says (`treatment`)."""

    level: ClassVar[str] = "warning"

    treatment: str
    error: str
