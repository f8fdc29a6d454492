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
    """Kill WORKERS that share a folder in turn, then let one finish; print how many died.

    As often as told, and until ORDERS have been acknowledged.
    """
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    pace, orders = float(os.environ.get("PACE", "1")), int(os.environ.get("ORDERS", "0"))
    workers = [_fork(work, folder) for _ in range(int(os.environ.get("WORKERS", "2")))]
    killed = 0
    while killed < kills or acknowledged(folder) < orders:
        time.sleep(pace * random.uniform(0.05, 0.35))
        status = _kill(workers.pop(0))
        if not os.WIFSIGNALED(status):
            for pid in workers:  # or they would hold our output open for ever
                _kill(pid)
            sys.exit(f"worker {killed} ended by itself: {status}")
        workers.append(_fork(work, folder))
        killed += 1
    for pid in workers:
        _kill(pid)
    asyncio.run(quiesce(folder))
    print(killed)  # noqa: T201 - for the test that started us


def outlive(work: Work, quiesce: Work) -> None:
    """Replace WORKERS that kill themselves, as often as told, then let one finish."""
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    workers = {_fork(work, folder) for _ in range(int(os.environ.get("WORKERS", "2")))}
    for _ in range(kills):
        pid, status = os.wait()
        workers.discard(pid)
        if not os.WIFSIGNALED(status):
            for each in workers:
                _kill(each)
            sys.exit(f"a worker ended by itself: {status}")
        workers.add(_fork(work, folder))
    for each in workers:
        _kill(each)
    asyncio.run(quiesce(folder))
    print(kills)  # noqa: T201 - for the test that started us


def acknowledged(folder: Path) -> int:
    """Return how many orders workers have heard to be committed."""
    file = folder / "acknowledged"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def database(folder: Path, name: str) -> Database:
    """Return a database that the workers share: a file, or where the environment says."""
    url = os.environ.get(f"{name.upper()}_URL", folder / f"{name}.sqlite")
    patient = PostgresOptions(connect=5.0, statement=5.0, lock=5.0)
    return Database(url, name=name, wait=20.0, postgres=patient)


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
