"""What the two kinds of database have in common below `Database`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, event
from sqlalchemy.ext.asyncio import AsyncEngine

from prodkit.errors import ConfigurationError, UnavailableError

#: Of errors that end a service at its start: waiting does not help, changing its settings does.
REFUSED = "DATABASE_REFUSED"
#: The execution option of an engine that holds what `translate` was given.
TRANSLATED = "prodkit_translated"


@dataclass(frozen=True, slots=True)
class Engines:
    """The engines of one database, and how many transactions each may have at a time.

    `serializable` writes too. `alone` and `reading_alone` run single statements, and begin no
    transactions for them. `probe` is a SELECT that only an intact database answers.
    Engines may share their connections: then `readers` is None, and `writers` counts all.
    """

    writer: AsyncEngine
    serializable: AsyncEngine
    reader: AsyncEngine
    alone: AsyncEngine
    reading_alone: AsyncEngine
    writers: int
    readers: int | None
    probe: Select[*tuple[Any, ...]]
    cleanup: Callable[[], None] = field(default=lambda: None)

    async def dispose(self) -> None:
        """Close all connections."""
        await self.reader.dispose()
        await self.writer.dispose()
        self.cleanup()


def translate(engine: AsyncEngine, translated: Callable[[Any], Exception | None]) -> None:
    """Raise what `translated` makes of an error's context (SQLAlchemy's) in place of the error.

    Whatever uses the engine hears the same: transactions, stores, migrations; what goes past it,
    straight to the driver, finds `translated` among its options.
    """
    engine.sync_engine.update_execution_options(**{TRANSLATED: translated})
    event.listen(engine.sync_engine, "handle_error", translated)


def unavailable(
    name: str, trouble: str, *, where: str = "", reason: str = "DATABASE_UNAVAILABLE"
) -> UnavailableError:
    """Return the error for a database that cannot serve now; it holds no secret.

    Its message may be shown to strangers, so only a note says `where` the database is.
    """
    error = UnavailableError(f"{name} {trouble}", reason=reason, retry_after=1.0)
    if where:
        error.add_note(f"{name} ({where}) {trouble}")
    return error


@contextmanager
def refusals() -> Iterator[None]:
    """Raise ConfigurationError where a connection was refused and waiting cannot help."""
    try:
        yield
    except UnavailableError as error:
        if error.reason != REFUSED:
            raise
        notes: list[str] = getattr(error, "__notes__", [error.message])
        raise ConfigurationError(notes[0]) from error  # which says where, too
