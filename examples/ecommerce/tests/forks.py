"""Processes of the command that start fast: forked from one that has imported everything already.

What is forked is a process like any other, to be stopped, killed and left alone; it only saves the
two seconds of a processor that imports take, a hundred times over. That the command itself starts
from nothing is what e2e/test_demo.py sees.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path
from subprocess import TimeoutExpired

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "ecommerce.cli",
        "ecommerce.platform",
        "ecommerce.schema",
        "ecommerce.sandbox.service",
        "ecommerce.audit.report",
        "ecommerce.recovery.backup",
        "ecommerce.recovery.restore",
    ]
)


class Fork:
    """As much of a `Popen` as the harness needs."""

    def __init__(self, command: list[str], folder: Path, env: dict[str, str], log: Path) -> None:
        self._command = command
        log.touch()  # whoever waits may look at once
        self._process = _CONTEXT.Process(
            target=_run, args=(command, str(folder), env, str(log)), daemon=True
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def poll(self) -> int | None:
        """Return None while it lives, then its exit code."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (code := self.poll()) is None:
            assert timeout is not None
            raise TimeoutExpired(self._command, timeout)
        return code


def _run(command: list[str], folder: str, env: dict[str, str], log: str) -> None:
    with open(log, "wb") as output, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["ecommerce", *command]
    from ecommerce.cli import main

    main()
