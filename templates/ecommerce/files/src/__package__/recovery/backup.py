"""Backing up: everything that the shop keeps, as of one instant, while it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from ..engines import check_placeholder
from ..peers import SERVICES
from ..settings import PLACEHOLDER, Settings
from . import manifest
from .archive import private, unfinished_beside, writing
from .instant import Source, View, instant
from .manifest import Manifest, Part
from .postgres_dumps import PostgresSource
from .postgres_url import PostgresUrl
from .progress import Progress
from .sqlite_files import SqliteSource

#: The embedded broker's queues, which are a database beside those of the services.
BROKER: Final = "broker"
#: The busiest first: whoever waits for the lock of another then waits shorter.
_BUSY = ("orders", "payments", "catalog", "notifications")
ORDER: Final = (*_BUSY, *(service for service in SERVICES if service not in _BUSY))


def backup(settings: Settings, folder: Path, progress: Progress) -> Manifest:
    """Write a backup to `folder`, which is new; return what is in it.

    Raises ConfigurationError, UnavailableError, and OSError for a disk that is full; then there is
    no `folder`.
    """
    for each in unfinished_beside(folder):
        progress.say(
            f"unfinished, and holds personal data: {each}; remove it if no other backup is running"
        )
    with sources(settings) as all_of, writing(folder) as unfinished, instant(all_of) as now:
        taken_at = now.at.isoformat(timespec="milliseconds")
        progress.say(f"backup of {taken_at}; nobody could write for {now.held * 1000:.0f} ms")
        parts = [_save(each, now.views[each.name], unfinished, progress) for each in all_of]
        whole = Manifest(taken_at, tuple(parts))
        private(unfinished / manifest.FILE).write_text(whole.to_json(), "utf-8")
    return whole


@contextmanager
def sources(settings: Settings) -> Iterator[list[Source]]:
    """Yield what is to be backed up. What RabbitMQ holds is not: outboxes have it too."""
    with asyncio.Runner() as runner:
        found: list[Source] = []
        if settings.broker_url is None:
            found.append(SqliteSource(BROKER, settings.data_dir / f"{BROKER}.db"))
        yield [*found, *(_source(settings, service, runner) for service in ORDER)]


def _source(settings: Settings, service: str, runner: asyncio.Runner) -> Source:
    if settings.database_url is None:
        return SqliteSource(service, settings.data_dir / f"{service}.db")
    check_placeholder(settings)
    return PostgresSource(service, postgres_url(settings, service), runner)


def postgres_url(settings: Settings, service: str) -> PostgresUrl:
    """Return where the database of a service is."""
    assert settings.database_url is not None
    return PostgresUrl(settings.database_url.get_secret_value().replace(PLACEHOLDER, service))


def _save(source: Source, view: View, folder: Path, progress: Progress) -> Part:
    path = private(folder / source.file)
    view.save(path, partial(progress.moved, "backup", source.name))
    size = path.stat().st_size
    rows = view.rows
    part = Part(
        name=source.name,
        kind=source.kind,
        file=source.file,
        size=size,
        sha256=manifest.digest(path, lambda done: progress.moved("check", source.name, done, size)),
        rows=rows,
        revision=view.revision,
    )
    progress.done("backup", source.name, f"{sum(rows.values())} rows, {size / 1e6:.1f} MB")
    return part
