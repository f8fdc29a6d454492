"""The check: files are read, never imported or run; rules say what is not ready."""

from __future__ import annotations

import ast
import errno
import io
import stat
import sys
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from prodkit.scaffold.readiness.files import files_of
from prodkit.scaffold.readiness.finding import Finding, Report, Unread
from prodkit.scaffold.readiness.module import Module
from prodkit.scaffold.readiness.project import Project
from prodkit.scaffold.readiness.proto import Contract, ProtoError, read_contract
from prodkit.scaffold.readiness.resolver import Resolver
from prodkit.scaffold.readiness.rules import ALL
from prodkit.scaffold.readiness.suppressions import Suppressions, suppressions_of
from prodkit.scaffold.readiness.yamls import Document, DocumentError, read_document


def check(root: Path, *, exclude: Sequence[str] = ()) -> Report:
    """Return what is not ready for production in the project at `root`.

    `exclude` are patterns of paths from `root` on. Raises ConfigurationError where there is nothing
    to check.
    """
    paths = files_of(root, exclude)
    reader = _Reader(root)
    for path in paths:
        reader.read(path)
    project = Project(reader.sources, reader.contracts, reader.documents)
    findings = [each for each in _found(project) if not reader.ignored(each)]
    return Report(
        len(paths),
        tuple(sorted({*findings, *reader.wrong})),
        tuple(sorted(reader.unread)),
    )


def _found(project: Project) -> Iterator[Finding]:
    for rule in ALL:
        yield from rule(project)


class _Reader:
    """Reads files, each by its kind, and keeps what it could not read."""

    def __init__(self, root: Path) -> None:
        self.sources: list[Resolver] = []
        self.contracts: list[Contract] = []
        self.documents: list[Document] = []
        self.unread: list[Unread] = []
        self._root = root
        self._suppressions: dict[str, Suppressions] = {}

    @property
    def wrong(self) -> list[Finding]:
        """The suppressions that are none."""
        return [each for found in self._suppressions.values() for each in found.wrong]

    def ignored(self, finding: Finding) -> bool:
        """Say whether the file asks to leave a finding out."""
        found = self._suppressions.get(finding.path)
        return found is not None and found.hold(finding)

    def read(self, path: str) -> None:
        """Read a file."""
        try:
            text = self._take(path)
            self._suppressions[path] = suppressions_of(path, text)
        except SyntaxError as error:
            python = ".".join(map(str, sys.version_info[:2]))
            self._fail(path, error.lineno or 0, f"{error.msg} (as Python {python} reads it)")
        except ProtoError as error:
            self._fail(path, error.line, str(error))
        except DocumentError as error:
            self.documents.append(Document(path, ()))  # it is there, whatever it says
            self._fail(path, error.line, str(error))
        except OSError as error:
            self._fail(path, 0, error.strerror or str(error))
        except (ValueError, LookupError, tokenize.TokenError) as error:  # bytes that are no text
            self._fail(path, 0, str(error))
        except (RecursionError, MemoryError):
            self._fail(path, 0, "nested too deeply")

    def _take(self, path: str) -> str:
        file = self._root / path
        if not stat.S_ISREG(file.stat().st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")  # a pipe would never end
        data = file.read_bytes()
        if path.endswith(".py"):
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
            text = data.decode(encoding)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of invalid escapes: not what was asked
                self.sources.append(Resolver(Module(path, ast.parse(data))))
            return text
        text = data.decode("utf-8-sig")
        if path.endswith(".proto"):
            self.contracts.append(read_contract(path, text))
        else:
            self.documents.append(read_document(path, text))
        return text

    def _fail(self, path: str, line: int, message: str) -> None:
        self.unread.append(Unread(path, line, " ".join(message.split())))
