"""The shop while it runs: hears signals, and sees to it that nothing is left behind."""

from __future__ import annotations

import signal
import time

from .orphans import Orphans
from .supervision import Supervisor
from .tables import say


class Running:
    """supervisord while it runs: hears signals, and ends it and all that is below it."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.told = 0
        self._supervisor = supervisor

    def __enter__(self) -> Running:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)
        self._process = self._supervisor.start()
        self._orphans = Orphans()
        return self

    def __exit__(self, *_: object) -> None:
        """End what is left, if anything is, by force."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        while self._orphans.end(signal.SIGKILL):
            time.sleep(0.01)

    def died(self) -> bool:
        """Say whether supervisord has ended; end orphans by the way."""
        self._orphans.end()
        return self._process.poll() is not None

    def until_told(self) -> int:
        """Wait for a signal, then for the end; return the exit code. A second signal cuts it."""
        while not self.told:
            if self.died():
                say("demo-full: supervisord has ended, and so does the rest")
                return 1
            time.sleep(0.5)
        say("\nStopping: nginx, gateways, services, sandbox, engines ...")
        self._process.terminate()
        until = time.monotonic() + self._supervisor.patience
        while not self.died():
            if self.told > 1 or time.monotonic() > until:
                say("demo-full: ended by force")
                return 1
            time.sleep(0.1)
        return 0

    def _hear(self, *_: object) -> None:
        self.told += 1
