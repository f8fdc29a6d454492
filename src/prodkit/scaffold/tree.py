"""Files into a folder that holds none yet, and how such a tree looks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prodkit.errors import ConfigurationError
from prodkit.scaffold.render import File

#: What may lie in a folder that counts as empty.
_GIT = ".git"


def check_empty(folder: Path) -> None:
    """Raise ConfigurationError for a folder that cannot take a new project."""
    try:
        there = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"{folder} can be no folder: {error.strerror}") from None
    if held := [name for name in there if name != _GIT]:
        more = f" and {len(held) - 1} more" if len(held) > 1 else ""
        raise ConfigurationError(
            f"{folder} is not empty: it holds {held[0]}{more}; a new project needs a new folder,"
            " or an empty one"
        )


def write(files: Mapping[str, File], folder: Path) -> None:
    """Write `files` into a new or empty folder, or nothing at all; raises ConfigurationError."""
    check_empty(folder)
    made: list[Path] = []
    try:
        for path, file in files.items():
            made += _make_folders((folder / path).parent)
            _create(folder / path, file, made)
    except BaseException as error:
        _remove(made)
        if isinstance(error, OSError):
            raise ConfigurationError(
                f"{error.filename or folder} cannot be written: {error.strerror}"
            ) from error
        raise


def lines(paths: Iterable[str], top: str) -> Iterator[str]:
    """Yield a tree of `paths` as people draw it, folders after the files beside them."""
    yield f"{top}/"
    nested: dict[str, object] = {}
    for path in sorted(paths):
        inner = nested
        *folders, name = path.split("/")
        for each in folders:
            found = inner.setdefault(each, {})
            assert isinstance(found, dict)
            inner = found
        inner[name] = None
    yield from _branches(nested, "")


def _branches(nested: Mapping[str, object], indent: str) -> Iterator[str]:
    names = sorted(nested, key=lambda name: (isinstance(nested[name], dict), name))
    for name in names:
        last = name == names[-1]
        inner = nested[name]
        folder = isinstance(inner, dict)
        yield f"{indent}{'└── ' if last else '├── '}{name}{'/' if folder else ''}"
        if isinstance(inner, dict):
            yield from _branches(inner, indent + ("    " if last else "│   "))


def _make_folders(folder: Path) -> list[Path]:
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir()
    return missing[::-1]


def _create(path: Path, file: File, made: list[Path]) -> None:
    with path.open("xb") as target:
        made.append(path)
        target.write(file.content)
    if file.executable:
        path.chmod(path.stat().st_mode | (0o111 & ~_umask()))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _remove(made: list[Path]) -> None:
    """Take back what was made, the newest first."""
    for path in reversed(made):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
