"""A small template in two versions, and a project made from the first."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import prodkit
from prodkit.scaffold import tree
from prodkit.scaffold.answers import Answers
from prodkit.scaffold.render import render
from prodkit.scaffold.update import Update, prepare_update

LINES = "".join(f"line {number}\n" for number in range(1, 10))


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=Tester", "-c", "user.email=tester@example.com")
    environment = {n: v for n, v in os.environ.items() if not n.startswith("GIT_")}
    done = subprocess.run(
        ["git", *identity, *words],
        cwd=folder,
        env={**environment, "GIT_CONFIG_GLOBAL": "/dev/null"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "as it is")


def fill(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())


class Workshop:
    """Templates that change, and a project that follows them."""

    def __init__(self, tmp_path: Path, monkeypatch) -> None:
        self.monkeypatch = monkeypatch
        self.root = tmp_path / "templates-0"
        self.folder = tmp_path / "my-shop"
        self.number = 0

    def templates(self, files: Mapping[str, str | bytes], *, service=(), version: str = "") -> None:
        """Bring out a version of the templates."""
        self.number += 1
        self.root = self.root.with_name(f"templates-{self.number}")
        fill(self.root / "project/base", files)
        fill(self.root / "service/base", dict(service))
        version = version or f"0.{self.number}.0"
        self.monkeypatch.setattr(prodkit, "__version__", version)

    def new(self, *, commits: bool = True, **answers) -> None:
        """Make the project, as `prodkit new` does."""
        told = Answers(name="my-shop", **answers)
        tree.write(render(told, root=self.root), self.folder)
        if commits:
            git(self.folder, "init", "-q")
            commit(self.folder)

    def prepare(self) -> Update:
        return prepare_update(self.folder, root=self.root)

    def update(self) -> dict[str, str]:
        """Update, and return what was done with which file."""
        update = self.prepare()
        update.write()
        return kinds(update)

    def write(self, path: str, content: str | bytes) -> None:
        fill(self.folder, {path: content})

    def read(self, path: str) -> str:
        return (self.folder / path).read_bytes().decode()

    def tree(self) -> dict[str, bytes]:
        """Return all that the project holds."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and ".git" not in path.relative_to(self.folder).parts
        }


def kinds(update: Update) -> dict[str, str]:
    return {change.path: change.kind.value for change in update.changes}
