"""How far it is, on standard error: one line that moves on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

#: Seconds between two reports: on a terminal, elsewhere. What takes less is told when it is done.
_OFTEN, _SELDOM = 0.1, 5.0
_MEGABYTE = 1_000_000


class Progress:
    """Says what is being done, and how much of it is."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._colored = self._terminal and not os.environ.get("NO_COLOR")
        self._every = _OFTEN if self._terminal else _SELDOM
        self._next = time.monotonic() + self._every

    def moved(self, what: str, name: str, done: int, total: int = 0) -> None:
        """Hear that `done` bytes of `total` (0: unknown) of one part are done."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._every
        share = f" ({100 * done // total} %)" if total else ""
        line = f"{what} {name}: {done / _MEGABYTE:.1f} MB{share}"
        self._write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")

    def done(self, what: str, name: str, words: str) -> None:
        """Say that one part is done."""
        self._next = time.monotonic() + self._every
        mark = "\x1b[32mdone\x1b[0m" if self._colored else "done"
        start = "\r\x1b[K" if self._terminal else ""
        self._write(f"{start}{what} {name}: {mark}, {words}\n")

    def say(self, words: str) -> None:
        """Say something that is no part's progress."""
        self._write(f"\r\x1b[K{words}\n" if self._terminal else f"{words}\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
