"""Nobody is left behind: what loses its parent comes to us, and is ended.

nginx's workers outlive a master that was killed; whoever started both would never hear of them.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


class Orphans:
    """Adopts the orphans among our descendants. Make it when all children of ours are there."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")
        self._ours = _children()

    def end(self, number: signal.Signals = signal.SIGTERM) -> list[int]:
        """Send those that came since then a signal, and bury the dead; return who is left."""
        adopted = _children() - self._ours
        for pid in adopted:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return sorted(_children() - self._ours)


def _children() -> set[int]:
    """Return the processes whose parent we are (proc(5))."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has just ended
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(after_name[1]) == os.getpid():
                    found.add(int(entry.name))
    return found
