"""A project as it lies on disk: what is at a path, and one file at a time written whole."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from prodkit.errors import ConfigurationError

_EXECUTABLE = 0o111


@dataclass(frozen=True, slots=True)
class Found:
    """What lies at a path: a file's content, or why there is none that could be merged."""

    content: bytes = b""
    executable: bool = False
    obstacle: str = ""


def look(folder: Path, path: str, gone: Collection[str] = ()) -> Found | None:
    """Return what is at `path`, None for nothing; files in `gone` are looked through.

    Links are never followed: what is behind them is not the project's. Raises ConfigurationError.
    """
    for parent in _parents(path):
        if parent in gone:
            return None
        if obstacle := _no_folder(folder / parent):
            return Found(obstacle=f"{parent} is {obstacle}")
    place = folder / path
    try:
        mode = place.lstat().st_mode
        if stat.S_ISREG(mode):
            return Found(place.read_bytes(), bool(mode & _EXECUTABLE))
        if stat.S_ISDIR(mode) and _leaves(folder, place, gone):
            return None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{place} cannot be read: {error.strerror}") from None
    return Found(obstacle=f"it is {_kind(mode)}")


def check_path(path: str) -> str:
    """Return a path of a project; raise ConfigurationError for one that leads out of it."""
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or parts[0] == ".git":
        raise ConfigurationError(f"{path!r} is no path within a project")
    return path


def replace(path: Path, content: bytes, *, executable: bool = False) -> None:
    """Write a file so that there is the old one or the new one, never a part; keep its mode.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name that the next run takes again: what was killed leaves nothing behind.
    beside = path.with_name(f".{path.name}.prodkit-new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    mode = stat.S_IMODE((path if path.exists() else beside).stat().st_mode)
    # Whoever may read it may run it.
    beside.chmod(mode | (mode >> 2 & _EXECUTABLE) if executable else mode)
    beside.replace(path)


def remove(folder: Path, path: str) -> None:
    """Delete a file, and the folders that are empty without it."""
    (folder / path).unlink(missing_ok=True)
    for parent in reversed(list(_parents(path))):
        with suppress(OSError):  # it holds something else
            (folder / parent).rmdir()


def _parents(path: str) -> Iterator[str]:
    """Yield the folders above a path, the outermost first."""
    yield from (str(parent) for parent in list(PurePosixPath(path).parents)[-2::-1])


def _no_folder(path: Path) -> str:
    if path.is_symlink():
        return "a link"
    return "no folder" if path.exists() and not path.is_dir() else ""


def _leaves(folder: Path, place: Path, gone: Collection[str]) -> bool:
    files = [Path(top, name) for top, _, names in os.walk(place) for name in names]
    return bool(files) and all(file.relative_to(folder).as_posix() in gone for file in files)


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a link"
    return "a folder" if stat.S_ISDIR(mode) else "no plain file"
