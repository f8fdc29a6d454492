"""Which files of a project are looked at: what runs in production, as far as names tell."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from prodkit.errors import ConfigurationError

#: Folders of what is not the project's own, or does not run in production.
_FOLDERS = {"__pycache__", "build", "dist", "node_modules", "site-packages", "test", "tests"}
_FILES = ("test_*.py", "*_test.py", "conftest.py", "*_pb2.py", "*_pb2_grpc.py")
#: What `load_settings` reads. Other YAML is for others, and may be no plain YAML.
_SETTINGS = ("default", "demo", "development", "test", "production")


def files_of(root: Path, exclude: Sequence[str] = ()) -> list[str]:
    """Return the paths below `root`, sorted; raise ConfigurationError where there is nothing.

    Left out: tests, generated modules, environments, hidden files and folders, links to folders,
    and what matches a pattern of `exclude` (a path or a folder on it, from `root` on).
    """
    if not root.is_dir():
        why = "it is no folder" if root.exists() else "there is no such folder"
        raise ConfigurationError(f"cannot check {root}: {why}")
    found = sorted(path for path in _walk(root) if not _excluded(path, exclude))
    if not any(path.endswith((".py", ".proto")) for path in found):
        raise ConfigurationError(
            f"cannot check {root}: no .py or .proto file is in it (tests are left out)"
        )
    return found


def _walk(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if _ours(os.path.join(folder, name), name)]
        for name in files:
            if _read(os.path.basename(folder), name):
                yield Path(folder, name).relative_to(root).as_posix()


def _read(folder: str, name: str) -> bool:
    if name.startswith("."):  # what editors and file systems leave beside
        return False
    if name.endswith(".yaml"):
        return folder == "config" and name.removesuffix(".yaml") in _SETTINGS
    return name.endswith((".py", ".proto")) and not any(fnmatch(name, each) for each in _FILES)


def _ours(folder: str, name: str) -> bool:
    if name in _FOLDERS or name.startswith("."):
        return False
    return not os.path.exists(os.path.join(folder, "pyvenv.cfg"))


def _excluded(path: str, exclude: Sequence[str]) -> bool:
    parts = path.split("/")
    heads = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    return any(fnmatch(head, each.strip("/")) for head in heads for each in exclude)
