"""Where the parts of a service are: its contract, its servicer, its table of events."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prodkit.errors import ConfigurationError
from prodkit.scaffold.event_table import entries_of
from prodkit.scaffold.insertion import PlaceError, classes_of
from prodkit.scaffold.names import names_of
from prodkit.scaffold.project import Project
from prodkit.scaffold.protofile import read_proto


@dataclass(frozen=True, slots=True)
class Contract:
    """A service of a contract, and the class that serves it."""

    file: Path
    service: str
    servicer: Path
    servicer_class: ast.ClassDef


@dataclass(frozen=True, slots=True)
class Sources:
    """The package of one service of a project, and its name."""

    project: Project
    service: str

    @property
    def package(self) -> Path:
        """The project's package."""
        return self.project.folder / "src" / names_of(self.project.answers.name).package

    @property
    def folder(self) -> Path:
        """The service's own package."""
        return self.package / self.service

    @property
    def tests(self) -> Path:
        """The folder of its tests: beside those of the other services."""
        tests = self.project.folder / "tests"
        return (tests / "unit" if (tests / "unit").is_dir() else tests) / self.service

    def contract(self) -> Contract:
        """Return its contract; raise ConfigurationError where there is none that is clear."""
        found = [(file, name) for file in self.contracts() for name in _services(file)]
        own = [each for each in found if each[0].stem == self.service] or [
            each for each in found if self.service in each[0].relative_to(self.package).parts
        ]
        named = [each for each in own if each[1] == f"{_camel(self.service)}Service"]
        for file, name in named or own:
            for path, kind in self._classes():
                if f"{name}Servicer" in _bases(kind):
                    return Contract(file, name, path, kind)
        raise ConfigurationError(
            f"{self.service} has no contract with a servicer: no class in {self._shown()} is"
            f" derived from {named[0][1] if named else _camel(self.service) + 'Service'}Servicer"
        )

    def contracts(self) -> list[Path]:
        """Return the project's .proto files."""
        return _files(self.package, "*.proto")

    def table(self) -> tuple[Path, dict[str, str]]:
        """Return the file in which it says what it makes of which event, and that table.

        Raises ConfigurationError.
        """
        found = []
        for path in self._python():
            try:
                found.append((path, entries_of(path.read_text("utf-8"))))
            except (PlaceError, UnicodeDecodeError):
                continue
        if len(found) == 1:
            return found[0]
        where = ", ".join(path.name for path, _ in found)
        raise ConfigurationError(
            f"{self.service} must have one table of its events, as"
            f' {{"item.sold": kit.once(on_item_sold)}}; {self._shown()} has'
            f" {f'several: {where}' if where else 'none'}"
        )

    def _shown(self) -> str:
        return self.folder.relative_to(self.project.folder).as_posix()

    def _python(self) -> list[Path]:
        return [path for path in _files(self.folder, "*.py") if "_pb2" not in path.name]

    def _classes(self) -> Iterator[tuple[Path, ast.ClassDef]]:
        for path in self._python():
            for kind in classes_of(path.read_text("utf-8", errors="replace")):
                yield path, kind


def _files(folder: Path, pattern: str) -> list[Path]:
    """Return what an editor shows: pipes would be waited for, and hidden files are its own."""
    found = (path for path in folder.rglob(pattern) if not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())


def _services(file: Path) -> list[str]:
    try:
        return list(read_proto(file.read_text("utf-8")).services)
    except (PlaceError, UnicodeDecodeError):
        return []


def _bases(kind: ast.ClassDef) -> list[str]:
    return [ast.unparse(base).rpartition(".")[2] for base in kind.bases]


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in re.split(r"_", name))
