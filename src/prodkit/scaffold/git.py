"""What git knows of a project, and its three-way merge."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from prodkit.errors import ConfigurationError

#: What a hook of another repository would have us work on.
_OTHERS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
#: From here on an exit code of `git merge-file` counts no conflicts.
_FAILED = 128


@dataclass(frozen=True, slots=True)
class Merged:
    """A file after a merge; what stands in conflict is marked in it."""

    content: bytes
    conflicts: int


class CannotMergeError(Exception):
    """Git does not merge such files; says why."""


class Git:
    """The repository that `folder` lies in, at its root or below, if it lies in one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = shutil.which("git")
        self._environment = {name: os.environ[name] for name in os.environ if name not in _OTHERS}

    def text(self, blob: str) -> bytes | None:
        """Return what is called `blob` there; None where it is not known."""
        if self._program is None:
            return None
        done = self._asked("cat-file", "blob", blob)
        return done.stdout if done.returncode == 0 else None

    def known(self, blobs: Iterable[str]) -> frozenset[str]:
        """Return those of `blobs` that are there."""
        if self._program is None:
            return frozenset()
        asked = "".join(f"{blob}\n" for blob in blobs).encode()
        done = self._asked("cat-file", "--batch-check", given=asked)
        answers = (line.split() for line in done.stdout.decode().splitlines())
        return frozenset(words[0] for words in answers if words[1:2] == ["blob"])

    def merge(self, ours: bytes, base: bytes, new: bytes, *, label: str) -> Merged:
        """Return `ours` with what changed from `base` to `new`; `label` names `new` in marks.

        Raises CannotMergeError, and ConfigurationError where there is no git.
        """
        if self._program is None:
            raise ConfigurationError("git is missing, and it merges files that both sides changed")
        with TemporaryDirectory(prefix="prodkit-") as folder:
            paths = [Path(folder, name) for name in ("ours", "base", "new")]
            for path, content in zip(paths, (ours, base, new), strict=True):
                path.write_bytes(content)
            labels = ("-L", "yours", "-L", "as generated before", "-L", label)
            done = self._run("merge-file", "-p", "-q", *labels, *map(str, paths))
        if not 0 <= done.returncode < _FAILED:
            raise CannotMergeError(done.stderr.decode(errors="replace").strip() or "git failed")
        return Merged(done.stdout, done.returncode)

    def _asked(self, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Ask the repository; raise ConfigurationError where it is one, and git trusts it not."""
        done = self._run(*words, given=given)
        if b"dubious ownership" in done.stderr:
            raise ConfigurationError(
                f"git does not open the repository of {self._folder.resolve()}, which is another"
                " user's: allow it with git config --global --add safe.directory FOLDER"
            )
        return done

    def _run(self, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        assert self._program is not None
        return subprocess.run(  # noqa: S603 - no shell, and the words are ours
            [self._program, *words],
            cwd=self._folder,
            env=self._environment,
            input=given,
            capture_output=True,
            check=False,
        )
