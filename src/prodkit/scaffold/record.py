"""What a project remembers of its making: `.prodkit.toml` for people, `.prodkit.lock` for us."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from prodkit.errors import ConfigurationError

RECORD = ".prodkit.toml"
LOCK = ".prodkit.lock"

_HEAD = """\
# What this project was made from. `prodkit update` and `prodkit add` read it and renew it.
"""
_LOCK_HEAD = "# Written by prodkit: what each file was when it was generated, as git names it.\n"
_LINE = re.compile(r"([0-9a-f]{40})  (\S.*)")


def blob_id(content: bytes) -> str:
    """Return the name that git gives to `content`."""
    head = b"blob %d\0" % len(content)
    return hashlib.sha1(head + content, usedforsecurity=False).hexdigest()


def record_text(version: str, answers: str) -> str:
    """Return `.prodkit.toml`; `answers` are TOML."""
    return f'{_HEAD}version = "{version}"\n{answers}'


def lock_text(contents: Mapping[str, bytes]) -> str:
    """Return `.prodkit.lock` for the files of a project, by their paths."""
    lines = (f"{blob_id(contents[path])}  {path}\n" for path in sorted(contents))
    return _LOCK_HEAD + "".join(lines)


def read_record(folder: Path) -> tuple[str, str]:
    """Return the version that made a project, and its answers as TOML; raise ConfigurationError."""
    text = _read(folder / RECORD)
    found = re.search(r'^version = "([^"\n]+)"\n', text, re.MULTILINE)
    if not found:
        raise ConfigurationError(f'{folder / RECORD} has no line `version = "..."`')
    return found[1], text


def read_lock(folder: Path) -> dict[str, str]:
    """Return the blob id of each generated file, by its path; raise ConfigurationError."""
    ids: dict[str, str] = {}
    for number, line in enumerate(_read(folder / LOCK).splitlines(), 1):
        if line.startswith("#") or not line:
            continue
        found = _LINE.fullmatch(line)
        if not found or found[2] in ids:
            raise ConfigurationError(f"{folder / LOCK}:{number} is no line of ours: {line!r}")
        ids[found[2]] = found[1]
    return ids


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path.parent} was not made by `prodkit new`: there is no {path.name}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
