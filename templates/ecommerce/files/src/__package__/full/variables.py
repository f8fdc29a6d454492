"""The environment of every process, in files that anybody can read, source and compare."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from .. import __name__ as package

#: The file of what all processes share; a process' own is called like the process.
SHARED = "shop"


class Variables:
    """A folder of `NAME=value` files, and `run`, which starts a command under them.

    They hold secrets: the folder is its owner's alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True)
        runner = Path(__file__).with_name("run.sh").read_text("utf-8")
        (folder / "run").write_text(runner)

    def write(self, name: str, variables: Mapping[str, str]) -> None:
        """Write the file of one process, or the `SHARED` one."""
        lines = [f"{key}={shlex.quote(value)}\n" for key, value in variables.items()]
        (self._folder / f"{name}.env").write_text("".join(lines))

    def command(self, name: str, *words: str) -> list[str]:
        """Return the shop's command with `words` under the shared variables and those of `name`."""
        run = ["sh", str(self._folder / "run"), name]
        return [*run, sys.executable, "-m", f"{package}.cli", *words]

    def tied(self, name: str, *words: str) -> list[str]:
        """Return the same for a child that is told to end (SIGTERM) when its parent is gone."""
        run, rest = (command := self.command(name, *words))[:3], command[3:]
        return [*run, "setpriv", "--pdeathsig", "TERM", *rest]
