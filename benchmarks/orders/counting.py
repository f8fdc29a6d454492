"""What one checkout takes: statements, transactions, syncs, calls between services."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.orders.load import Crowd
from benchmarks.orders.recording import Unit, between
from benchmarks.orders.shops import hops, mails, settle

#: Seconds after a checkout's last event in which what belongs to it has ended.
APART = 0.6


@dataclass
class Counted:
    """What was seen of some checkouts, one at a time; figures are those of one of them."""

    chains: list[list[Unit]]
    hops: dict[str, float]
    syncs: dict[str, float] = field(default_factory=dict)

    def per_checkout(self, of: Callable[[Unit], float]) -> dict[str, float]:
        """Return a sum over the transactions, by database."""
        sums: Counter[str] = Counter()
        for chain in self.chains:
            for unit in chain:
                sums[unit.database] += of(unit)  # type: ignore[assignment]
        return {name: value / len(self.chains) for name, value in sums.items()}

    def shapes(self) -> list[tuple[str, float, tuple[str, ...]]]:
        """Return database, times a checkout and statements of each kind of transaction."""
        kinds = Counter(unit.shape for chain in self.chains for unit in chain)
        return [(kind[0], times / len(self.chains), kind[1:]) for kind, times in kinds.items()]


def checkouts(
    crowd: Crowd, number: int, idle: float, read: Callable[[], Sequence[Unit]]
) -> Counted:
    """Have one buyer check out `number` times; leave out what happens without anybody, too."""
    some(crowd, 3)  # what is done once is not counted
    time.sleep(APART)
    resting = time.time(), time.time() + idle
    time.sleep(idle)
    windows, calls = [], hops(crowd.shop)
    for _ in range(number):
        began = time.time()
        some(crowd, 1)
        time.sleep(APART)
        windows.append((began, time.time()))
    since = {
        name: (value - calls.get(name, 0.0)) / number for name, value in hops(crowd.shop).items()
    }
    units = read()
    known = {unit.shape for unit in between(units, *resting)}
    chains = [
        [unit for unit in between(units, *each) if unit.shape not in known] for each in windows
    ]
    return Counted(chains, {name: value for name, value in since.items() if value >= 0.5})


def some(crowd: Crowd, number: int) -> None:
    """Have one buyer check out, one time after another, and wait for the mails."""
    told = mails(crowd.shop)
    for _ in range(number):
        crowd.one()
    settle(crowd.shop, told + number)


@contextmanager
def syncs(pids: dict[str, list[int]], counted: dict[str, float]) -> Iterator[None]:
    """Count by file what these processes and their children sync, if strace is here."""
    if shutil.which("strace") is None:
        yield
        return
    output = Path(f"/tmp/prodkit-syncs-{time.monotonic_ns()}")
    attached = [word for of in pids.values() for pid in of for word in ("-p", str(pid))]
    command = ["strace", "-f", "-y", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(output)]
    tracer = subprocess.Popen([*command, *attached], stderr=subprocess.DEVNULL)
    time.sleep(1.0)
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
        for path in re.findall(r"f(?:data)?sync\(\d+<([^>]+)>", output.read_text()):
            name = _file(Path(path))
            counted[name] = counted.get(name, 0.0) + 1
        output.unlink()


def _file(path: Path) -> str:
    """Return whose file it is: a database of SQLite, PostgreSQL's log of writes, another."""
    if "pg_wal" in path.parts:
        return "PostgreSQL's write-ahead log"
    return path.name.partition(".")[0] if ".db" in path.name else path.parent.name
