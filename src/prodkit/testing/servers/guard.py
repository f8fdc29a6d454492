"""The parent of one private server: it obeys its starter, and outlives nobody who dies silently.

Run as `python -m prodkit.testing.servers.guard FOLDER SIGNAL USER COMMAND...`, where SIGNAL stops
the server and USER runs it ("": ourselves). It takes a word a line on stdin (`start`, `kill`,
`pause`, `resume`, `stop`) and answers each with a line. When stdin ends, because the starter closed
it or was killed, it ends the server and removes the folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

#: Seconds that a server gets to end by itself.
_GRACE = 10.0


class Guard:
    """One server process and all its descendants."""

    def __init__(
        self, folder: Path, command: Sequence[str], stop: signal.Signals, user: str | None
    ) -> None:
        self._folder = folder
        self._user = user
        self._command = command
        self._stop = stop
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server; its output goes to `server.log` in the folder."""
        self.kill()
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._folder,
                user=self._user,
                group=self._user,
            )

    def pause(self) -> None:
        """Let it stand still, connections open: what a hung server looks like."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as kill -9 does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as it likes to be ended, and by force if it does not."""
        self.resume()
        self._end(self._stop)
        self.kill()

    def close(self) -> None:
        """End it, and leave nothing behind."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        pids = self._signal(number)
        until = time.monotonic() + _GRACE
        while self._process is not None and time.monotonic() < until:
            self._process.poll()  # or it stays as a zombie
            if not any(_lives(pid) for pid in pids):
                self._process = None
            time.sleep(0.01)

    def _signal(self, number: signal.Signals) -> list[int]:
        """Tell the server and all its descendants; return who they are."""
        if self._process is None:
            return []
        pids = [*_descendants(self._process.pid), self._process.pid]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return pids


def _lives(pid: int) -> bool:
    stat = _stat(pid)
    return stat is not None and stat[0] not in "ZX"


def _stat(pid: int | str) -> tuple[str, int] | None:
    """Return the state and the parent of a process (proc(5)), None if there is none."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return after_name[0], int(after_name[1])


def _descendants(pid: int) -> list[int]:
    """Return the processes below `pid`; no group holds them, servers give theirs sessions."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(entry.name)) is not None:
            children.setdefault(stat[1], []).append(int(entry.name))
    found = [pid]
    for each in found:  # it grows as it goes
        found += children.get(each, [])
    return found[1:]


def main(arguments: Sequence[str]) -> None:
    """Serve the words that come on stdin."""
    folder, stop, user, *command = arguments
    guard = Guard(Path(folder), command, signal.Signals(int(stop)), user or None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells everybody; we hear of the end
    try:
        for line in sys.stdin:
            word = line.strip()
            try:
                {
                    "start": guard.start,
                    "kill": guard.kill,
                    "pause": guard.pause,
                    "resume": guard.resume,
                    "stop": guard.stop,
                }[word]()
            except OSError as error:
                print(f"error: {error}", flush=True)  # noqa: T201  # it is the protocol
            else:
                print("ok", flush=True)  # noqa: T201
    finally:
        guard.close()


if __name__ == "__main__":
    main(sys.argv[1:])
