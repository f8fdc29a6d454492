"""`prodkit update`: a project to the templates of the installed prodkit, and its edits kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import prodkit
from prodkit.errors import ConfigurationError
from prodkit.scaffold import disk
from prodkit.scaffold.answers import Answers
from prodkit.scaffold.bases import read_bases, write_bases
from prodkit.scaffold.git import Git
from prodkit.scaffold.journal import JOURNAL, Step, end_journal, read_journal, write_journal
from prodkit.scaffold.merge import Change, Kind, Merger, has_marks, plan
from prodkit.scaffold.project import Project, open_project, renewed
from prodkit.scaffold.record import LOCK, RECORD, blob_id
from prodkit.scaffold.render import File, render


class UnfinishedError(Exception):
    """An update began and could not end; says why. Run again, it goes on."""


@dataclass(frozen=True, slots=True)
class Update:
    """All that an update will do, worked out; nothing is written before `write`."""

    project: Project
    files: Mapping[str, File]
    changes: tuple[Change, ...]
    record: bytes
    lock: bytes
    bases: Mapping[str, bytes]

    @property
    def conflicts(self) -> int:
        """How many files somebody has to look at."""
        return sum(change.conflict for change in self.changes)

    @property
    def nothing(self) -> bool:
        """Whether the project is as it should be."""
        folder = self.project.folder
        same = (folder / LOCK).read_bytes() == self.lock and not (folder / JOURNAL).exists()
        return same and not self.changes and self.project.record.encode() == self.record

    def write(self) -> None:
        """Do it. The lock and the record come last: until then it can be run again.

        Raises UnfinishedError.
        """
        folder = self.project.folder
        try:
            write_bases(folder, {**read_bases(folder), **self._rendered()})
            write_journal(folder, self._steps())
            for change in sorted(self.changes, key=lambda each: each.kind is not Kind.REMOVED):
                _apply(folder, change)
            disk.replace(folder / LOCK, self.lock)
            disk.replace(folder / RECORD, self.record)
            write_bases(folder, self.bases)
            end_journal(folder)
        except OSError as error:
            where = error.filename or folder
            raise UnfinishedError(
                f"{where} cannot be written: {error.strerror}; run it again once it can"
            ) from error

    def _rendered(self) -> dict[str, bytes]:
        return {
            blob_id(self.files[change.path].content): self.files[change.path].content
            for change in self.changes
            if change.after is not None
        }

    def _steps(self) -> list[Step]:
        return [
            Step(change.path, blob_id(change.after), blob_id(self.files[change.path].content))
            for change in self.changes
            if change.after is not None
        ]


def prepare_update(folder: Path, *, root: Path | None = None) -> Update:
    """Work out what brings a project to the installed templates; raise ConfigurationError."""
    project = open_project(folder)
    return prepare(project, project.answers, root=root)


def prepare(
    project: Project,
    answers: Answers,
    *,
    known: Mapping[str, File] | None = None,
    root: Path | None = None,
) -> Update:
    """Work out what brings a project to what `answers` render; raise ConfigurationError.

    `known` are files whose texts need not be asked of git.
    """
    files = render(answers, root=root)
    record, lock = files.pop(RECORD), files.pop(LOCK)
    for path in files:
        disk.check_path(path)
    git, bases = Git(project.folder), read_bases(project.folder)
    texts = {blob_id(file.content): file.content for file in (known or {}).values()} | bases

    def text(blob: str) -> bytes | None:
        return texts[blob] if blob in texts else git.text(blob)

    base, again = _resumed(project)
    _check_marks(project, again)
    merger = Merger(git, text, f"prodkit {prodkit.__version__}")
    changes = plan(base, files, partial(disk.look, project.folder), merger)
    _resolve_first(path for path in again if path in {change.path for change in changes})
    standing = [Change(path, Kind.MARKED) for path in again]
    rendered = {blob_id(file.content): file.content for file in files.values()}
    there = git.known(rendered)
    return Update(
        project,
        files,
        tuple(sorted([*changes, *standing], key=lambda change: change.path)),
        renewed(project.record, record.content.decode()).encode(),
        lock.content,
        {blob: rendered[blob] for blob in rendered.keys() - there},
    )


def _resumed(project: Project) -> tuple[dict[str, str], list[str]]:
    """Return what files are based on, and those in which an interrupted update left marks."""
    base, marked = dict(project.lock), []
    for path, step in read_journal(project.folder).items():
        found = disk.look(project.folder, disk.check_path(path))
        if found and not found.obstacle and blob_id(found.content) == step.after:
            base[path] = step.rendered
            marked += [path] if step.after != step.rendered and has_marks(found.content) else []
    return base, marked


def _check_marks(project: Project, again: list[str]) -> None:
    """Raise ConfigurationError for conflicts that nobody has resolved yet."""
    marked = []
    for path in project.lock.keys() - set(again):
        found = disk.look(project.folder, path)
        if found and has_marks(found.content) and blob_id(found.content) != project.lock[path]:
            marked.append(path)
    _resolve_first(marked)


def _resolve_first(marked: Iterable[str]) -> None:
    if paths := ", ".join(sorted(marked)):
        raise ConfigurationError(
            f"marks of a conflict still stand in {paths}: resolve them, then run it again"
        )


def _apply(folder: Path, change: Change) -> None:
    if change.kind is not Kind.REMOVED and change.after is None:
        return
    found = disk.look(folder, change.path)
    if (None if found is None or found.obstacle else found.content) != change.before:
        raise UnfinishedError(f"{change.path} has changed since it was read: run it again")
    if change.after is None:
        disk.remove(folder, change.path)
    else:
        disk.replace(folder / change.path, change.after, executable=change.executable)
