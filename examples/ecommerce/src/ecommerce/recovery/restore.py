"""Restoring: everything is checked first and loaded beside what is there; then names change."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from prodkit.errors import ConfigurationError, UnavailableError

from ..engines import check_placeholder
from ..settings import Settings
from . import manifest
from .backup import BROKER, ORDER, postgres_url
from .manifest import Manifest, Part
from .postgres_target import PostgresTarget
from .progress import Progress
from .sqlite_target import SqliteTarget
from .unfinished import switching


class Target(Protocol):
    """Where a database goes: loaded beside its place, then put there."""

    name: str
    kind: str
    shown: str

    def occupied(self) -> bool:
        """Say whether something is there; ConfigurationError if somebody uses it."""

    def load(
        self, source: Path, part: Part, publish_again: bool, tell: Callable[[int, int], None]
    ) -> dict[str, int]:
        """Load a part of a backup beside the place; return how many rows each table has.

        `publish_again` has every event published again that the outbox still holds: for a broker
        that is not of the backup's instant. Whoever has handled one drops it by its id.
        """

    def put_aside(self, mark: str) -> str:
        """Give what is there another name, and return that; empty if nothing is."""

    def take_place(self) -> None:
        """Put what was loaded in its place."""

    def discard(self) -> None:
        """Remove what was loaded, if it has not taken its place."""


def restore(
    settings: Settings, folder: Path, progress: Progress, *, force: bool = False
) -> tuple[Manifest, list[str]]:
    """Replace all databases by those of a backup; return it, and the names of what was there.

    Nothing is touched before every file of the backup was read and found whole. What is there is
    replaced only with `force`, and kept under another name. Raises ConfigurationError, and
    UnavailableError where a server is away or a program failed.
    """
    whole = manifest.read(folder)
    with _targets(settings) as targets:
        parts = [_part(whole, target, folder) for target in targets]
        manifest.verify(folder, parts, partial(progress.moved, "check"))
        progress.say(f"restore of {whole.taken_at}: {len(parts)} files are whole")
        with _alone(settings):
            _check_free(settings, targets, force=force)
            return whole, _replace(settings, folder, targets, parts, progress)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Let no other restore load into the same places; the lock ends with the process."""
    descriptor = os.open(settings.make_data_dir(), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigurationError(f"another restore into {settings.data_dir} is running") from None
    finally:
        os.close(descriptor)


def _replace(
    settings: Settings,
    folder: Path,
    targets: Sequence[Target],
    parts: Sequence[Part],
    progress: Progress,
) -> list[str]:
    again = settings.broker_url is not None
    try:
        for target, part in zip(targets, parts, strict=True):
            _load(target, folder / part.file, part, again, progress)
        return _switch(settings, targets)
    finally:
        for target in targets:
            target.discard()


@contextmanager
def _targets(settings: Settings) -> Iterator[Sequence[Target]]:
    with asyncio.Runner() as runner:
        found: list[Target] = []
        if settings.broker_url is None:
            found.append(SqliteTarget(BROKER, settings.data_dir / f"{BROKER}.db"))
        yield [*found, *(_target(settings, service, runner) for service in ORDER)]


def _target(settings: Settings, service: str, runner: asyncio.Runner) -> Target:
    if settings.database_url is None:
        return SqliteTarget(service, settings.data_dir / f"{service}.db")
    check_placeholder(settings)
    return PostgresTarget(service, postgres_url(settings, service), runner)


def _part(whole: Manifest, target: Target, folder: Path) -> Part:
    part = whole.part(target.name)
    if part is None:
        hint = ": it was taken with broker_url set" if target.name == BROKER else ""
        raise ConfigurationError(f"{folder} holds no {target.name}{hint}")
    if part.kind != target.kind:
        raise ConfigurationError(
            f"{folder} is of {part.kind}, and database_url asks for {target.kind}"
        )
    return part


def _check_free(settings: Settings, targets: Sequence[Target], *, force: bool) -> None:
    """Raise ConfigurationError if the shop runs, or if something would be replaced unasked."""
    there = [target.shown for target in targets if target.occupied()]
    if force:
        return
    if there:
        raise ConfigurationError(
            f"{', '.join(there)}: there already; --force replaces them and keeps them under"
            " another name"
        )
    # A shop whose files were deleted goes on with them: only its ports tell.
    for port in (settings.port, settings.admin_port):
        if _answers(port):
            raise ConfigurationError(
                f"something answers on port {port}: stop the shop first, or say --force if that is"
                " not the shop"
            )


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return port > 0 and probe.connect_ex(("127.0.0.1", port)) == 0


def _load(target: Target, source: Path, part: Part, again: bool, progress: Progress) -> None:
    rows = target.load(source, part, again, partial(progress.moved, "restore", target.name))
    if wrong := [name for name, count in part.rows.items() if rows.get(name) != count]:
        raise UnavailableError(
            f"{target.name}: {wrong[0]} has {rows.get(wrong[0])} rows of {part.rows[wrong[0]]}"
        )
    progress.done("restore", target.name, f"{sum(rows.values())} rows")


def _switch(settings: Settings, targets: Sequence[Target]) -> list[str]:
    """Change the names. All old ones go first: nothing can start on some of each in between."""
    # To the microsecond: of two restores in one second, each keeps what it found.
    mark = datetime.now(UTC).strftime("%Y%m%dT%H%M%S_%f")
    with switching(settings):
        kept = [target.put_aside(mark) for target in targets]
        for target in targets:
            target.take_place()
    return [each for each in kept if each]
