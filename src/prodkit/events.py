"""What policies say of themselves while they work; telemetry and tests listen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

if TYPE_CHECKING:
    from prodkit.call import Call


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in the past tense; each policy declares its own beside itself.

    Telemetry counts every event under `policy` and its class's name, and puts it on the span of the
    call. `level` ("info", "warning"...) gives it a log line of its own too: for what changes the
    state of something, or what no failed call would tell of. "" is none.
    """

    level: ClassVar[str] = ""

    policy: str


Listener: TypeAlias = "Callable[[Call, Event], None]"
