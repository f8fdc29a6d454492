"""The audit as a command: a table, and an exit code."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import httpx2
from prodkit.errors import ServiceError
from sqlalchemy.exc import SQLAlchemyError

from ..settings import Settings
from .books import read
from .checks import Finding, findings

#: Seconds between looks.
PAUSE = 0.5
#: Faults of one check that are shown.
MOST = 10


def run(settings: Settings, *, limit: float, patience: float) -> int:
    """Audit and print what was found; return 0 if all adds up, 1 if not, 2 without the books.

    A shop at work cannot be read at one instant, so what does not add up is read again for
    `patience` seconds. `limit` is how old, in seconds, what is half done may be.
    """
    if settings.database_url is None and not (settings.data_dir / "orders.db").exists():
        print(f"audit: the books cannot be read: there are none in {settings.data_dir}")
        return 2
    return asyncio.run(_run(settings, limit, patience))


async def _run(settings: Settings, limit: float, patience: float) -> int:
    until = time.monotonic() + patience
    while True:
        try:
            found = findings(await read(settings, limit=limit))
        except (ServiceError, SQLAlchemyError, httpx2.HTTPError) as error:
            print(f"audit: the books cannot be read: {_said(error)}")
            return 2
        wrong = any(finding.wrong for finding in found)
        if not wrong or time.monotonic() >= until:
            print(table(found))
            return int(wrong)
        await asyncio.sleep(PAUSE)


def _said(error: Exception) -> str:
    """Return one line; the note of an error, if it has one, says where."""
    notes: list[str] = getattr(error, "__notes__", [])
    said = (notes[0] if notes else str(error)).partition("\n")[0]
    said = said or type(error).__name__  # a time-out has no words
    if isinstance(error, httpx2.RequestError):
        return f"{error.request.url}: {said} (is the sandbox running?)"
    return said


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
