"""The shop on real engines, as `demo-full` starts it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
from harness import ROOT, Process, Shop, eventually


class FullShop(Shop):
    """One `demo-full`, with all that is below it; `settings` reach every process."""

    def __init__(self, folder: Path, **settings: object) -> None:
        super().__init__(folder, data_dir=folder, **settings)
        self.kept = folder / "full"

    def start(self) -> FullShop:
        """Start everything and wait for the guide."""
        self.shop = Process("demo-full", self.folder, self.env)
        eventually(self._open, within=600, every=0.2)
        shared = shlex.split((self.kept / "env" / "shop.env").read_text())
        self.env |= dict(line.split("=", 1) for line in shared)
        return self

    def _open(self) -> bool:
        assert self.shop is not None
        assert self.shop.running(), self.shop.log.read_text()[-4000:]
        return "Ctrl-C ends everything" in self.shop.log.read_text()

    def pids(self) -> dict[str, int]:
        """Ask supervisord who runs, by name."""
        command = [sys.executable, "-m", "supervisor.supervisorctl", "-c"]
        told = subprocess.run(
            [*command, self.kept / "supervisord.conf", "status"],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        ).stdout
        found = re.findall(r":?(\S+) +RUNNING +pid (\d+)", told.replace(":", " "))
        return {name: int(pid) for name, pid in found}

    def ready(self, name: str) -> bool:
        """Say whether one of the processes says that it is ready."""
        own = shlex.split((self.kept / "env" / f"{name}.env").read_text())
        port = dict(line.split("=", 1) for line in own)["SHOP_ADMIN_PORT"]
        try:
            return httpx2.get(f"http://127.0.0.1:{port}/health/ready").is_success
        except httpx2.TransportError:
            return False

    def kill_process(self, name: str) -> None:
        """Kill one of the shop's processes as kill -9 does."""
        os.kill(self.pids()[name], signal.SIGKILL)

    def family(self) -> set[int]:
        """Return all processes below the launcher, guards and engines among them."""
        assert self.shop is not None
        return _below({self.shop.pid})

    def close(self) -> None:
        """Stop what runs: kill -9 does, its children see to the rest."""
        family = self.family() if self.shop is not None and self.shop.running() else set()
        super().close()
        eventually(lambda: not any(map(alive, family)), within=120)


def alive(pid: int) -> bool:
    """Say whether a process runs; one that waits to be buried does not."""
    try:
        return _stat(pid)[0] not in "ZX"
    except OSError:
        return False


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _below(parents: set[int]) -> set[int]:
    found = set(parents)
    while True:
        more = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) not in found:
                try:
                    if int(_stat(int(entry.name))[1]) in found:
                        more.add(int(entry.name))
                except OSError:
                    continue
        if not more:
            return found
        found |= more
