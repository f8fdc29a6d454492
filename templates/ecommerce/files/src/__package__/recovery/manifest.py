"""What a backup says of itself: what is in it, of when, and how to tell that it is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from prodkit.errors import ConfigurationError

FORMAT: Final = 1
FILE: Final = "manifest.json"
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One database: its file, and what must be found in it again.

    `kind` is "sqlite" (a database file) or "postgresql" (a dump of pg_dump's custom format).
    """

    name: str
    kind: str
    file: str
    size: int
    sha256: str
    rows: dict[str, int]
    revision: str = ""

    def __post_init__(self) -> None:
        """Raise TypeError for what no backup has; what is read may be damaged."""
        if not (isinstance(self.rows, dict) and isinstance(self.file, str)):
            raise TypeError("a part has a file, and rows by table")
        if not isinstance(self.size, int):
            raise TypeError("a part has a size")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole backup. `taken_at` is the instant that all of its databases show, in ISO format."""

    taken_at: str
    parts: tuple[Part, ...]

    def part(self, name: str) -> Part | None:
        """Return the part of that name."""
        return next((part for part in self.parts if part.name == name), None)

    def to_json(self) -> str:
        """Return it as it is kept."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"


def read(folder: Path) -> Manifest:
    """Read the manifest of a backup. Raises ConfigurationError, which says what is wrong."""
    try:
        text = (folder / FILE).read_text("utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"{folder} is no backup: it has no {FILE}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{folder / FILE} cannot be read: {error}") from None
    try:
        content = json.loads(text)
        found = content.pop("format")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _damaged(folder) from None
    if found != FORMAT:
        raise ConfigurationError(
            f"{folder} has format {found}, and this version reads {FORMAT}: use the version of"
            " the shop that made it, or a newer one"
        )
    try:
        parts = tuple(Part(**part) for part in content.pop("parts"))
        whole = Manifest(parts=parts, **content)
        astray = [part.file for part in parts if Path(part.file).name != part.file]
    except (TypeError, KeyError, AttributeError):
        raise _damaged(folder) from None
    if astray:
        raise _damaged(folder)
    return whole


def _damaged(folder: Path) -> ConfigurationError:
    return ConfigurationError(f"{folder / FILE} is damaged")


def verify(folder: Path, parts: Sequence[Part], tell: Callable[[str, int, int], None]) -> None:
    """Read every file to its end; ConfigurationError names all that are not as they were written.

    `tell` hears of the progress: the name of a part, bytes read, and how many there are.
    """
    if wrong := [found for part in parts if (found := _fault(folder / part.file, part, tell))]:
        raise ConfigurationError(f"{folder} is not whole: {'; '.join(wrong)}")


def _fault(path: Path, part: Part, tell: Callable[[str, int, int], None]) -> str:
    try:
        size = path.stat().st_size
        if size != part.size:
            return f"{part.file} has {size} bytes of {part.size}"
        if digest(path, lambda done: tell(part.name, done, size)) != part.sha256:
            return f"{part.file} was changed (its SHA-256 differs)"
    except FileNotFoundError:
        return f"{part.file} is missing"
    except OSError as error:
        return f"{part.file} cannot be read: {error.strerror}"
    return ""


def digest(path: Path, tell: Callable[[int], None]) -> str:
    """Return the SHA-256 of a file; `tell` hears how much of it was read."""
    sha, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
            done += len(chunk)
            tell(done)
    return sha.hexdigest()
