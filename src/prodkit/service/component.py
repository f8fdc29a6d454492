"""What a service is made of: components, and the order in which they depend on each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Component(Protocol):
    """Anything that a service starts and stops.

    Three more members are heard if they are there: `edge: bool` (a server that strangers reach),
    `quiesce()` (readiness is withdrawn, a stop will follow: say so to peers, go on serving; may be
    async), and `async wait()`, which returns or raises when the component ends by itself: then the
    service goes down with exit code 1.
    """

    @property
    def name(self) -> str:
        """What logs call it."""

    async def start(self) -> None:
        """Return when it is of use; leave nothing behind on failure or cancellation."""

    async def stop(self, grace: float) -> None:
        """Finish what was begun within `grace` seconds, then cut it; cancelled: cut it now."""


class State(Enum):
    """Where a service is; it is ready in one state only."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Parts:
    """What a process is made of; `telemetry` ends when all that it could tell of has ended."""

    resources: Sequence[Component] = ()
    servers: Sequence[Component] = ()
    consumers: Sequence[Component] = ()
    workers: Sequence[Component] = ()
    telemetry: Sequence[Component] = ()

    @property
    def edges(self) -> list[Component]:
        """The servers that strangers reach: last up, first down."""
        return [server for server in self.servers if getattr(server, "edge", False)]

    @property
    def internal(self) -> list[Component]:
        """The servers that requests in flight may still need."""
        return [server for server in self.servers if not getattr(server, "edge", False)]
