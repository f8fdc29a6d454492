"""Forks workers and kills them, one after another; for scripts that tests run as processes."""

import asyncio
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from prodkit.data.database import Database, PostgresOptions

Work = Callable[[Path], Awaitable[None]]


def main(work: Work, quiesce: Work) -> None:
    """Kill two workers that share a folder in turn, as often as told, then let one finish."""
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    pace = float(os.environ.get("PACE", "1"))
    workers = [_fork(work, folder) for _ in range(2)]
    for number in range(kills):
        time.sleep(pace * random.uniform(0.05, 0.35))
        status = _kill(workers.pop(0))
        if not os.WIFSIGNALED(status):
            for pid in workers:  # or they would hold our output open for ever
                _kill(pid)
            sys.exit(f"worker {number} ended by itself: {status}")
        workers.append(_fork(work, folder))
    for pid in workers:
        _kill(pid)
    asyncio.run(quiesce(folder))


def database(folder: Path, name: str) -> Database:
    """Return a database that the workers share: a file, or where the environment says."""
    url = os.environ.get(f"{name.upper()}_URL", folder / f"{name}.sqlite")
    patient = PostgresOptions(connect=5.0, statement=5.0, lock=5.0)
    return Database(url, name=name, wait=5.0, postgres=patient)


def _fork(work: Work, folder: Path) -> int:
    pid = os.fork()
    if pid == 0:
        random.seed()
        try:
            asyncio.run(work(folder))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)  # a worker ends by SIGKILL alone
    return pid


def _kill(pid: int) -> int:
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]
