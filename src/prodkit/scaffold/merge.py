"""What becomes of each generated file when its template changes, and nothing of yours is lost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from prodkit.scaffold.disk import Found
from prodkit.scaffold.git import CannotMergeError, Git
from prodkit.scaffold.record import blob_id
from prodkit.scaffold.render import File

_MARKS = re.compile(rb"^<<<<<<< .*?^=======\r?$.*?^>>>>>>> ", re.MULTILINE | re.DOTALL)
#: As far as git looks for a zero byte.
_LOOKED_AT = 8000
_RUN = "executable now"


class Kind(Enum):
    """What is done with a file."""

    NEW = "new"
    UPDATED = "updated"
    MERGED = "merged"
    REMOVED = "removed"
    KEPT = "kept"
    GONE = "gone"
    MARKED = "conflict"
    UNMERGED = "not merged"


@dataclass(frozen=True, slots=True)
class Change:
    """What is done with one file, and why; `before` is what was looked at, None for no file."""

    path: str
    kind: Kind
    note: str = ""
    before: bytes | None = None
    after: bytes | None = None  # None: it is not written
    executable: bool = False

    @property
    def conflict(self) -> bool:
        """Whether somebody has to look at it."""
        return self.kind in (Kind.MARKED, Kind.UNMERGED)


@dataclass(frozen=True, slots=True)
class Merger:
    """Merges single files; `texts` returns what had a blob id, `label` names the new side."""

    git: Git
    texts: Callable[[str], bytes | None]
    label: str

    def decide(
        self, path: str, base: str | None, ours: Found | None, new: File | None
    ) -> Change | None:
        """Return what to do with `path`; None for nothing.

        `base` is the id of what was generated before, if it was. Raises ConfigurationError.
        """
        if new is None:
            return _dropped(path, base, ours)
        if ours is None and base is None:
            return Change(path, Kind.NEW, after=new.content, executable=new.executable)
        if ours is None:
            also = "" if base == blob_id(new.content) else ", and the templates changed it"
            return Change(path, Kind.GONE, f"you deleted or moved it{also}")
        if base == blob_id(new.content):
            return None
        if ours.obstacle:
            return Change(path, Kind.UNMERGED, f"{ours.obstacle}, and the templates changed it")
        change = self._changed(path, base, ours.content, new)
        if change and change.after is not None and new.executable and not ours.executable:
            return replace(
                change, executable=True, note="; ".join(filter(None, (change.note, _RUN)))
            )
        return change

    def _changed(self, path: str, base: str | None, ours: bytes, new: File) -> Change | None:
        """Merge in the line endings of `ours`, so that they make no difference."""
        if blob_id(ours) == base:
            return Change(path, Kind.UPDATED, "", ours, new.content)
        if not _ends_in_crlf(ours) or b"\r\n" in new.content:
            return self._merged(path, base, ours, new.content)
        change = self._merged(path, base, _lf(ours), new.content, _lf)
        if change is None or change.after is None:
            return change
        return replace(change, before=ours, after=change.after.replace(b"\n", b"\r\n"))

    def _merged(
        self,
        path: str,
        base: str | None,
        ours: bytes,
        new: bytes,
        ending: Callable[[bytes], bytes] = bytes,
    ) -> Change | None:
        if ours == new:
            return None
        if blob_id(ours) == base:
            return Change(path, Kind.UPDATED, "", ours, new)
        if is_binary(ours) or is_binary(new):
            return Change(
                path, Kind.UNMERGED, "it is binary, and both sides changed it: kept yours"
            )
        text = self.texts(base) if base else None
        try:
            merged = self.git.merge(ours, ending(text or b""), new, label=self.label)
        except CannotMergeError as error:
            return Change(path, Kind.UNMERGED, f"{error}: kept yours")
        if merged.content == ours:
            return None
        if merged.conflicts:
            note = "" if text is not None else _no_base(base)
            return Change(path, Kind.MARKED, note, ours, merged.content)
        return Change(path, Kind.MERGED, "", ours, merged.content)


def plan(
    lock: Mapping[str, str],
    new: Mapping[str, File],
    look: Callable[[str, frozenset[str]], Found | None],
    merger: Merger,
) -> list[Change]:
    """Return what to do from the files in `lock` to those in `new`, by path.

    `look` tells what lies at a path once the files it is given are deleted.
    """

    def decided(paths: set[str], gone: frozenset[str]) -> Iterator[Change]:
        for path in sorted(paths):
            change = merger.decide(path, lock.get(path), look(path, gone), new.get(path))
            if change is not None:
                yield change

    # First what goes: a folder may become a file, and a file a folder.
    dropped = list(decided(lock.keys() - new.keys(), frozenset()))
    gone = frozenset(change.path for change in dropped if change.kind is Kind.REMOVED)
    return sorted([*dropped, *decided(set(new), gone)], key=lambda change: change.path)


def has_marks(content: bytes) -> bool:
    """Say whether a merge left marks of a conflict there."""
    return _MARKS.search(content) is not None


def is_binary(content: bytes) -> bool:
    """Say whether git takes `content` for binary."""
    return b"\0" in content[:_LOOKED_AT]


def _dropped(path: str, base: str | None, ours: Found | None) -> Change | None:
    if ours is None:
        return None
    if not ours.obstacle and base in (blob_id(ours.content), blob_id(_lf(ours.content))):
        return Change(path, Kind.REMOVED, before=ours.content)
    why = ours.obstacle or "you changed it"
    return Change(path, Kind.KEPT, f"the templates have it no more, but {why}")


def _ends_in_crlf(content: bytes) -> bool:
    lines = content.count(b"\n")
    return lines > 0 and lines == content.count(b"\r\n")


def _lf(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n")


def _no_base(base: str | None) -> str:
    if base is None:
        return "it was there before the templates had one"
    return "git does not know how it was generated, so both versions are there whole"
