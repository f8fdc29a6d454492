"""The mark of a restore that did not come to its end: no service may start on some of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prodkit.errors import ConfigurationError

from .. import COMMAND
from ..settings import Settings
from .archive import sync

NAME = "restore.unfinished"


@contextmanager
def switching(settings: Settings) -> Iterator[None]:
    """Mark the time in which some databases are of the backup and some are not."""
    mark = settings.make_data_dir() / NAME
    mark.touch()
    sync(mark.parent)
    yield
    mark.unlink()
    sync(mark.parent)


def check_restored(settings: Settings) -> None:
    """Raise ConfigurationError if a restore died while it was switching."""
    mark = settings.data_dir / NAME
    if mark.exists():
        raise ConfigurationError(
            f"{mark} is there: a restore did not come to its end; run `{COMMAND} restore` again,"
            " with --force"
        )
