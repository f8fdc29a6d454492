"""Files that `prodkit add rpc` and `add event` write: all of them, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from prodkit.errors import ConfigurationError
from prodkit.scaffold import disk
from prodkit.scaffold.insertion import PlaceError
from prodkit.scaffold.merge import has_marks


@dataclass(slots=True)
class Additions:
    """What is to be written into a project; nothing is before `write`."""

    folder: Path
    edited: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)  # before, after
    created: dict[str, bytes] = field(default_factory=dict)

    def edit(self, file: Path, change: Callable[[str], str]) -> None:
        """Have `change` applied to a file, in its own line endings; raise ConfigurationError."""
        path = self._path(file)
        found = disk.look(self.folder, path)
        if found is None or found.obstacle:
            raise ConfigurationError(f"{path}: {found.obstacle if found else 'there is none'}")
        if has_marks(found.content):
            raise ConfigurationError(f"{path}: marks of a conflict stand in it: resolve them first")
        try:
            text = found.content.decode()
            ending = "\r\n" if "\r\n" in text else "\n"
            after = change(text.replace("\r\n", "\n")).replace("\n", ending)
        except UnicodeDecodeError:
            raise ConfigurationError(f"{path}: it is not UTF-8") from None
        except PlaceError as error:
            raise ConfigurationError(f"{path}: {error}") from None
        if ending == "\r\n" and "\n" in text.replace("\r\n", ""):
            raise ConfigurationError(f"{path}: its lines end in two ways: settle on one first")
        self.edited[path] = (found.content, after.encode())

    def create(self, file: Path, text: str) -> None:
        """Have a file written that is not there yet; raise ConfigurationError."""
        path = self._path(file)
        if disk.look(self.folder, path) is not None:
            raise ConfigurationError(f"{path} is there already")
        self.created[path] = text.encode()

    def write(self) -> None:
        """Write them; where one cannot be written, none is. Raises ConfigurationError."""
        done: list[str] = []
        try:
            for path, content in self.created.items():
                done.append(path)
                disk.replace(self.folder / path, content)
            for path, (_, after) in self.edited.items():
                done.append(path)
                disk.replace(self.folder / path, after)
        except OSError as error:
            self._undo(done)
            where = error.filename or self.folder
            raise ConfigurationError(f"{where} cannot be written: {error.strerror}") from error

    def _undo(self, done: list[str]) -> None:
        for path in done:
            if path in self.created:
                disk.remove(self.folder, path)
            else:
                (self.folder / path).write_bytes(self.edited[path][0])

    def _path(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()
