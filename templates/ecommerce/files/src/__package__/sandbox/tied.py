"""Ends a child process when its parent is gone, however the parent died."""

from __future__ import annotations

import asyncio
import os
import signal
import sys


class Tied:
    """A component that takes the process down in order when standard input ends."""

    name = "tie to the parent"

    async def start(self) -> None:
        """Watch standard input; nothing is ever written to it."""
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._read)

    async def stop(self, grace: float) -> None:
        """Stop watching."""
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())

    def _read(self) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            signal.raise_signal(signal.SIGTERM)
