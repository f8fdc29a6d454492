"""Forks workers and kills them, one after another; for scripts that tests run as processes."""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

Work = Callable[[Path], Awaitable[None]]


def main(work: Work, quiesce: Work) -> None:
    """Kill two workers that share a folder in turn, as often as told, then let one finish."""
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    workers = [_fork(work, folder) for _ in range(2)]
    for number in range(kills):
        time.sleep(random.uniform(0.05, 0.35))
        status = _kill(workers.pop(0))
        if not os.WIFSIGNALED(status):
            sys.exit(f"worker {number} ended by itself: {status}")
        workers.append(_fork(work, folder))
    for pid in workers:
        _kill(pid)
    asyncio.run(quiesce(folder))


def _fork(work: Work, folder: Path) -> int:
    pid = os.fork()
    if pid == 0:
        random.seed()
        try:
            asyncio.run(work(folder))
        finally:
            os._exit(1)  # a worker ends by SIGKILL alone
    return pid


def _kill(pid: int) -> int:
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]
