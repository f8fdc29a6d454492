"""The first commit of a project: what `prodkit update` later merges from."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from prodkit.errors import ServiceError

#: What would lead git into another repository, as in a hook's environment.
_ELSEWHERE = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_WORK_TREE",
    }
)
#: No hook runs, whoever it is of, and what is committed is what was generated, byte for byte.
_PLAINLY = (
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "core.autocrlf=false"),
    *("-c", "core.safecrlf=false"),
)
_IDENTITY = ("-c", "user.name=prodkit", "-c", "user.email=prodkit@localhost")


class GitError(ServiceError):
    """git could not do what was asked; says what it said."""


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run git in `folder`, whatever repository the environment names."""
    environment = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    return subprocess.run(  # noqa: S603 - the arguments are ours
        ["git", *arguments],  # noqa: S607 - the git that the user's PATH leads to
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


def begin(folder: Path, message: str) -> str:
    """Make `folder` a repository and commit what is in it; return why not, or nothing.

    The commit is neither signed nor shown to hooks, which might ask. Raises GitError.
    """
    if shutil.which("git") is None:
        return "git is not installed"
    if git(folder, "rev-parse", "--is-inside-work-tree").stdout.strip() == b"true":
        return "it lies in a repository already"
    _do(folder, "init", "--quiet")
    _do(folder, "add", "--force", "--all")  # some of it may be what users ignore everywhere
    identity = () if _known(folder) else _IDENTITY
    _do(folder, *identity, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", message)
    return ""


def _known(folder: Path) -> bool:
    """Say whether git knows in whose name to commit."""
    roles = ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT")
    return all(git(folder, "var", role).returncode == 0 for role in roles)


def _do(folder: Path, *arguments: str) -> None:
    done = git(folder, *_PLAINLY, *arguments)
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise GitError(f"git {' '.join(arguments)} in {folder}: {said}")
