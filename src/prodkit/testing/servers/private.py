"""A server of one's own, for a test run: started on a free port, in a folder that goes with it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Self

_ROOT = 0
_GUARD = "prodkit.testing.servers.guard"


class ServerError(RuntimeError):
    """A private server did not start; the message ends with what it printed."""


class PrivateServer:
    """A server process that belongs to whoever made it, and ends with them whatever happens.

    `kill`, `pause` and `resume` do to it what machines do; `start` after `kill` starts it again on
    the same port with the same data. A guard process watches over it: when its starter dies, even
    by kill -9, the server ends and its folder goes.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        command: Sequence[str],
        ready: Callable[[], bool],
        *,
        stop: signal.Signals = signal.SIGTERM,
        user: str = "",
        environment: Mapping[str, str] | None = None,
        patience: float = 60.0,
    ) -> None:
        self.name = name
        self.folder = folder
        self._ready = ready
        self._patience = patience
        self._guard = subprocess.Popen(
            [sys.executable, "-m", _GUARD, str(folder), str(stop.value), user, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            text=True,
            start_new_session=True,
        )

    def start(self) -> None:
        """Start it and wait until it serves; raises ServerError with its last words if it does not.

        A server that is running is killed first.
        """
        self._tell("start")
        end = time.monotonic() + self._patience
        while not self._ready():
            if time.monotonic() > end:
                log = (self.folder / "server.log").read_text(errors="replace")
                waited = f"{self.name} did not start in {self._patience:g} s"
                raise ServerError(f"{waited}: {log[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it and its children as kill -9 does; its data stays."""
        self._tell("kill")
        self._wait_until_away()

    def stop(self) -> None:
        """End it as it likes to be ended; its data stays."""
        self._tell("stop")
        self._wait_until_away()

    def pause(self) -> None:
        """Let it stand still with its connections open (SIGSTOP)."""
        self._tell("pause")

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._tell("resume")

    def close(self) -> None:
        """End it for good and remove its data."""
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        self._guard.stdin.close()
        self._guard.wait()
        self._guard.stdout.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _wait_until_away(self) -> None:
        """Wait for the kernel to close its sockets, which is a moment after the process ended."""
        end = time.monotonic() + self._patience
        while self._ready() and time.monotonic() < end:
            time.sleep(0.01)

    def _tell(self, word: str) -> None:
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        self._guard.stdin.write(f"{word}\n")
        self._guard.stdin.flush()
        answer = self._guard.stdout.readline().strip()
        if answer != "ok":
            raise ServerError(f"{self.name}: {answer or 'its guard is gone'}")


def free_port() -> int:
    """Return a TCP port of loopback that nobody uses at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert isinstance(port, int)
        return port


def accepts(port: int) -> bool:
    """Say whether somebody listens on `port` of loopback."""
    with socket.socket() as sock:
        sock.settimeout(0.5)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def folder_for(name: str, user: str = "") -> Path:
    """Return a new temporary folder that belongs to `user` (default: ourselves)."""
    folder = Path(mkdtemp(prefix=f"prodkit-{name}-"))
    if user:
        shutil.chown(folder, user)
    return folder


def unless_root(user: str) -> str:
    """Return whom a server that refuses to run as root runs as: `user`, or "" for ourselves."""
    return user if os.geteuid() == _ROOT else ""


def binary(name: str, *places: str, package: str) -> str:
    """Return the path of a server's binary; raises ServerError that names the Debian package."""
    for place in places:
        for found in sorted(Path("/").glob(f"{place.lstrip('/')}/{name}"), reverse=True):
            return str(found)
    found_on_path = shutil.which(name)
    if found_on_path is None:
        raise ServerError(f"{name} is not installed; on Debian: apt-get install {package}")
    return found_on_path
