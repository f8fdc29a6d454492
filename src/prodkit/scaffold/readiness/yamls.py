"""The settings of a project in files, with the line of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import yaml


class DocumentError(Exception):
    """A file that is no YAML; `line` says where."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Entry:
    """A value with its key, `database.password` say; numbers and words are their text."""

    key: str
    value: str
    line: int
    kind: str  #: str, int, float, bool or null

    @property
    def depth(self) -> int:
        """How deep it stands; 0 is the top."""
        return self.key.count(".")


@dataclass(frozen=True, slots=True)
class Document:
    """One file of settings."""

    path: str
    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        """Its environment: `production` of `config/production.yaml`."""
        return self.path.rpartition("/")[2].removesuffix(".yaml")

    @property
    def folder(self) -> str:
        """The folder that it is in."""
        return self.path.rpartition("/")[0]


def read_document(path: str, text: str) -> Document:
    """Return the values in a file; raise DocumentError where it is not YAML."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise DocumentError(mark.line + 1 if mark else 0, "not YAML") from None
    except RecursionError:
        raise DocumentError(0, "nested too deeply") from None
    return Document(path, tuple(_entries(root)))


def _entries(root: yaml.Node | None) -> Iterator[Entry]:
    waiting: list[tuple[str, yaml.Node | None]] = [("", root)]
    seen: set[int] = set()
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, yaml.ScalarNode) and path:
            kind = str(node.tag).rpartition(":")[2]
            yield Entry(path, str(node.value), node.start_mark.line + 1, kind)
        if not isinstance(node, yaml.MappingNode) or id(node) in seen:
            continue  # an anchor may lead back to where it stands
        seen.add(id(node))
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                waiting.append((f"{path}.{key.value}".lstrip("."), value))
