"""Shop processes that start fast: forked from one that has imported everything already.

What is forked is a process like any other, to be stopped, killed and left alone; it only saves the
two seconds that imports take, which is most of a test that kills the shop twenty times.
Run as a script it is the mother: a JSON line in (`env`, `log`), the child's pid out.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from harness import ROOT, Process


class _Handle:
    """The part of `Popen` that a `Process` uses, for a process that is not our child."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """Return None while it lives; its exit code is the mother's to know, so 0 stands for it."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def wait(self, timeout: float = 10.0) -> int:
        end = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < end, f"{self.pid} is still there"
            time.sleep(0.005)
        return 0


class Forked(Process):
    """A shop process that a nursery bore; its exit code is not known here."""

    def __init__(self, pid: int, log: Path) -> None:
        self.log = log
        self._popen = _Handle(pid)  # type: ignore[assignment]


class Nursery:
    """The mother, as the tests hold her."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._mother = subprocess.Popen(
            [sys.executable, __file__],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )

    def bear(self, env: dict[str, str]) -> Forked:
        """Return a new shop process that serves under `env`."""
        self._number += 1
        log = self._folder / f"serve-{self._number:03}.log"
        assert self._mother.stdin is not None
        assert self._mother.stdout is not None
        self._mother.stdin.write(json.dumps({"env": env, "log": str(log)}) + "\n")
        self._mother.stdin.flush()
        return Forked(int(self._mother.stdout.readline()), log)

    def close(self) -> None:
        """Let the mother go; what she bore is its keeper's."""
        assert self._mother.stdin is not None
        self._mother.stdin.close()
        self._mother.wait()


def _mother() -> None:
    import ecommerce.platform  # noqa: F401

    # Children that ended are not waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _serve(asked["env"], asked["log"])
        print(pid, flush=True)


def _serve(env: dict[str, str], log: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with open(log, "wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(env)
    from ecommerce.cli import app

    app(["serve"], prog_name="ecommerce")
    os._exit(0)


if __name__ == "__main__":
    _mother()
