"""A generated project as its record tells of it, and its record renewed."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import prodkit
from prodkit.errors import ConfigurationError
from prodkit.scaffold.answers import Answers
from prodkit.scaffold.disk import check_path
from prodkit.scaffold.record import LOCK, RECORD, read_lock, read_record

_VERSION = re.compile(r"(\d+(?:\.\d+)*)(.*)")
#: What prodkit changes in a record; all else in it is its user's.
_OURS = ("version", "services")


@dataclass(frozen=True, slots=True)
class Project:
    """A folder that prodkit generated: by which version, from which answers, as which files."""

    folder: Path
    version: str
    answers: Answers
    lock: dict[str, str]
    record: str


def open_project(folder: Path) -> Project:
    """Read a project's record; raise ConfigurationError for none, a damaged or a newer one."""
    version, record = read_record(folder)
    if not _VERSION.fullmatch(version):
        raise ConfigurationError(f"{folder / RECORD}: {version!r} is no version of prodkit")
    if _order(version) > _order(prodkit.__version__):
        raise ConfigurationError(
            f"this project was made by prodkit {version}, which is newer than the installed"
            f" {prodkit.__version__}: install prodkit-services>={version}"
        )
    try:
        answers = Answers.from_toml(record)
    except ConfigurationError as error:
        raise ConfigurationError(f"{folder / RECORD}: {error}") from None
    if not (folder / LOCK).exists():
        raise ConfigurationError(
            f"{folder / LOCK} is missing, and tells your changes from the templates':"
            f" take it back from git (git checkout HEAD -- {LOCK})"
        )
    lock = {check_path(path): blob for path, blob in read_lock(folder).items()}
    return Project(folder, version, answers, lock, record)


def renewed(record: str, wanted: str) -> str:
    """Return a record that says what `wanted` says, else as its user left it.

    Raises ConfigurationError.
    """
    lines = record.rstrip("\n").splitlines(keepends=True)
    lines[-1:] = [f"{line}\n" for line in lines[-1:]]
    for key in _OURS:
        said, place = _line(wanted, key), _place(lines, key)
        if place is None:
            lines += [said] if said else []
        elif said:
            lines[place] = said
        else:
            del lines[place]
    text = "".join(lines)
    if _told(text) != _told(wanted):
        raise ConfigurationError(
            f"{RECORD} cannot be renewed: keep `services` on one line, as it was generated"
        )
    return text


def _line(text: str, key: str) -> str:
    found = re.search(rf"^{key} = .*\n", text, re.MULTILINE)
    return found[0] if found else ""


def _place(lines: list[str], key: str) -> int | None:
    return next((n for n, line in enumerate(lines) if re.match(rf"{key}\s*=", line)), None)


def _told(text: str) -> tuple[object, Answers] | None:
    try:
        return tomllib.loads(text).get("version"), Answers.from_toml(text)
    except (tomllib.TOMLDecodeError, ConfigurationError):
        return None


def _order(version: str) -> tuple[tuple[int, ...], bool, str]:
    """Return what versions are sorted by: what has a word after its numbers comes before them."""
    found = _VERSION.fullmatch(version)
    numbers, rest = (found[1], found[2]) if found else ("0", version)
    release = [int(each) for each in numbers.split(".")]
    while release and release[-1] == 0:
        release.pop()
    return tuple(release), not rest or rest.startswith((".post", "+")), rest
