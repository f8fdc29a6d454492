"""The audit as a command: a table, and an exit code."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import httpx2

from ecommerce.audit.books import read
from ecommerce.audit.checks import Finding, findings

#: Seconds between looks.
PAUSE = 0.5
#: Faults of one check that are shown.
MOST = 10


def run(folder: Path, sandbox_url: str, *, limit: float, patience: float) -> int:
    """Audit and print what was found; return 0 if all adds up, 1 if not, 2 without the books.

    A shop at work cannot be read at one instant, so what does not add up is read again for
    `patience` seconds. `limit` is how old, in seconds, what is half done may be.
    """
    until = time.monotonic() + patience
    while True:
        try:
            found = findings(read(folder, sandbox_url, limit=limit))
        except (sqlite3.Error, httpx2.HTTPError) as error:
            print(f"audit: the books cannot be read: {error}")
            return 2
        wrong = any(finding.wrong for finding in found)
        if not wrong or time.monotonic() >= until:
            print(table(found))
            return int(wrong)
        time.sleep(PAUSE)


def table(found: Sequence[Finding]) -> str:
    """Return a line a check, and under it what is wrong."""
    lines = []
    for finding in found:
        word = f"{len(finding.wrong)} wrong" if finding.wrong else "ok"
        lines.append(f"{finding.check:<10}{word:<10}{finding.seen}")
        lines += [f"{'':<10}- {fault}" for fault in finding.wrong[:MOST]]
        if len(finding.wrong) > MOST:
            lines.append(f"{'':<10}- and {len(finding.wrong) - MOST} more")
    return "\n".join(lines)
