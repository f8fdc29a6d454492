"""The folder of a backup: nobody else may read it, and it has its name only once it is whole."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prodkit.errors import ConfigurationError


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """Yield a new folder that becomes `folder` at the end, on disk with all that is in it.

    Whatever fails or dies before leaves no `folder`. Raises ConfigurationError where there is one
    already: a backup is never written over another.
    """
    if folder.exists():
        raise ConfigurationError(f"{folder} is there already: name a folder that is not")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = folder.parent / f".{folder.name}.unfinished-{secrets.token_hex(4)}"
        unfinished.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be made: {error.strerror}") from error
    try:
        yield unfinished
        for path in unfinished.iterdir():
            sync(path)
        sync(unfinished)
        _name(unfinished, folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _name(unfinished: Path, folder: Path) -> None:
    """Give it its name; what came there meanwhile is not written over, but an empty folder is."""
    try:
        unfinished.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise ConfigurationError(
            f"{folder} is there already, since this backup began: name another folder"
        ) from error


def unfinished_beside(folder: Path) -> list[Path]:
    """Return what other backups write beside `folder` now, or left when they were killed."""
    return sorted(folder.parent.glob(".*.unfinished-????????"))


def private(path: Path) -> Path:
    """Create an empty file that only its owner can read: it will hold personal data."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    return path


def sync(path: Path) -> None:
    """Have what was written to a file or folder on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
