"""Where log lines go: a stream that is written to at once, or not waited for."""

from __future__ import annotations

import os
import select
import stat
import sys
import threading
from collections import deque
from typing import BinaryIO

#: What POSIX lets a pipe take whole, and Linux promises a place for once poll says so.
_ATOMIC = 4096


class LineSink:
    """Writes lines to a stream without ever blocking its caller; the process's way out for logs.

    A reader that stalls (a pipe that is full, a stopped terminal) must not stop the event loop: up
    to `backlog` lines then wait for a thread that exists only as long as they do; what is more is
    dropped and counted in `dropped`. Regular files and in-memory streams are written directly. It
    may be used from any thread. The stream's own buffer is bypassed.
    """

    def __init__(self, stream: BinaryIO | None = None, *, backlog: int = 10_000) -> None:
        if backlog < 1:
            raise ValueError(f"backlog must be at least one line, not {backlog!r}")
        self._stream = sys.stdout.buffer if stream is None else stream
        self._fd = _descriptor(self._stream)
        self._poll = _poll(self._fd)
        self._limit = backlog
        self._backlog: deque[bytes] = deque()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.dropped = 0

    def write(self, line: bytes) -> int:
        """Write `line`, which ends in a newline, or leave it to the backlog."""
        with self._lock:
            poll = self._poll
            if self._thread is None and (poll is None or (len(line) <= _ATOMIC and poll.poll(0))):
                self._put(line)
            elif len(self._backlog) < self._limit:
                self._backlog.append(line)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._drain, name="log", daemon=True)
                    self._thread.start()
            else:
                self.dropped += 1
        return len(line)

    def flush(self, seconds: float = 0.0) -> bool:
        """Wait for the backlog to be written, and say whether it was. Blocks: not for the loop."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return self._thread is None

    def _put(self, line: bytes) -> None:
        try:
            if self._fd is None:
                self._stream.write(line)
                return
            while line:
                line = line[os.write(self._fd, line) :]
        except (OSError, ValueError):  # nobody reads any more: no reason for the service to fail
            self.dropped += 1

    def _drain(self) -> None:
        while True:
            with self._lock:
                if not self._backlog:
                    self._thread = None
                    return
                line = self._backlog.popleft()
            self._put(line)


def _descriptor(stream: BinaryIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, AttributeError):
        return None


def _poll(descriptor: int | None) -> select.poll | None:
    """Return a poll for what can stall; None for what cannot."""
    if descriptor is None:
        return None
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)):
        return None
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return poll
