"""One instant in several databases: nobody writes for some milliseconds, while all are looked at.

The shop is made to bear that all of its processes are killed at any instant. What several databases
show of one instant is just what they would show after that, so it settles by itself: outboxes
publish, inboxes drop what they know, sagas go on. Snapshots taken one after the other would need
another argument for each pair of services, and some pairs have no order that is right: with orders
first, payments can have taken the money for an order that is unknown; with payments first, an order
can be paid by a payment that is unknown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from prodkit.errors import UnavailableError

#: Seconds until whoever finds databases busy gives up, and between two tries.
PATIENCE, PAUSE = 60.0, 0.3


class BusyError(UnavailableError):
    """Somebody writes, and did not end in the short time that all others may be kept waiting."""


class View(Protocol):
    """A database as of one instant."""

    @property
    def rows(self) -> dict[str, int]:
        """How many rows each table has."""

    @property
    def revision(self) -> str:
        """The schema's revision, if it has one."""

    def save(self, path: Path, tell: Callable[[int, int], None]) -> None:
        """Write it to a new file; `tell` hears how many bytes of how many (0: unknown) are done."""


class Source(Protocol):
    """A database that can be backed up; it is open while it is entered."""

    name: str
    kind: str
    file: str

    def __enter__(self) -> object: ...

    def __exit__(self, *exception: object) -> bool | None: ...

    def hold(self) -> AbstractContextManager[None]:
        """Let nobody write meanwhile; BusyError if that cannot be had at once."""

    def look(self) -> AbstractContextManager[View]:
        """See what is there now, however long the looking takes."""


@dataclass(frozen=True, slots=True)
class Instant:
    """What all databases held at one time; `held` is for how many seconds nobody could write."""

    at: datetime
    held: float
    views: dict[str, View]


@contextmanager
def instant(sources: Sequence[Source], *, patience: float = PATIENCE) -> Iterator[Instant]:
    """Open all `sources` and look at them at one instant. Raises UnavailableError."""
    with ExitStack() as stack:
        for source in sources:
            stack.enter_context(source)
        end = time.monotonic() + patience
        while True:
            try:
                seen = _seen(sources, stack)
            except BusyError:
                if time.monotonic() > end:
                    raise
                time.sleep(PAUSE)
            else:
                break
        yield seen


def _seen(sources: Sequence[Source], stack: ExitStack) -> Instant:
    began = time.monotonic()
    with ExitStack() as held:
        for source in sources:
            held.enter_context(source.hold())
        views = {source.name: stack.enter_context(source.look()) for source in sources}
        at = datetime.now(UTC)
    return Instant(at, time.monotonic() - began, views)
