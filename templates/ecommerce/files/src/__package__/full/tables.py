"""What `demo-full` says to the terminal that it runs in."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .. import COMMAND
from ..demo import guide
from ..settings import Settings
from .engines import Engines
from .places import Plan
from .supervision import Supervisor, relative

_HEAD = ("what", "where", "metrics, health", "pid", "log")


def say(words: str) -> None:
    """Print a line for people; standard output is for logs."""
    print(words, file=sys.stderr, flush=True)  # noqa: T201 - it talks to a terminal


def explain(
    settings: Settings, folder: Path, what: Plan, servers: Engines, supervisor: Supervisor
) -> None:
    """Print how to use the shop, what runs where, and how to try it by force."""
    rows = [*_processes(settings, what, supervisor.pids(), folder), *_engines(servers)]
    say(guide(settings, metrics="each process's own, in the table below"))
    say(_table([_HEAD, *rows]))
    run = f"sh {relative(folder / 'env' / 'run')} shop"
    command = relative(Path(sys.executable).with_name(COMMAND))
    say(f"""
What each process is told:  {relative(folder / "env")}   (nothing else differs from `make demo`)
Kill one, it comes back:    kill -9 {supervisor.pids().get("orders-1", "PID")}
Restart, stop, look:        {supervisor.control} status
Do the books balance?       {run} {command} audit

Ctrl-C ends everything in order. The databases go with it; {relative(folder)} stays for its logs.
""")


def _processes(
    settings: Settings, what: Plan, pids: dict[str, int], folder: Path
) -> Iterator[Sequence[str]]:
    def row(name: str, where: str, metrics: str = "") -> Sequence[str]:
        return (
            name,
            where,
            metrics,
            str(pids.get(name, "-")),
            relative(folder / "log" / f"{name}.log"),
        )

    yield row("nginx", f"http://localhost:{settings.port}")
    for place in reversed(what.places):
        yield row(place.name, place.url, place.metrics_url)
    yield row("sandbox", f"http://127.0.0.1:{what.sandbox_port}")


def _engines(servers: Engines) -> Iterator[Sequence[str]]:
    for url, server in servers.servers.items():
        name, _, _ = url.partition(":")
        yield (name, url, "", "", str(server.folder / "server.log"))


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join("  " + line.rstrip() for line in lines)
