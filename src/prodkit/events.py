"""What policies say of themselves while they work; telemetry and tests listen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from prodkit.call import Call


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in the past tense; each policy declares its own beside itself."""

    policy: str


Listener: TypeAlias = "Callable[[Call, Event], None]"
