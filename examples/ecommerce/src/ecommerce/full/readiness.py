"""Waiting until all of the shop answers, and saying why it does not."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import httpx2

#: Seconds in which everything must answer; a busy machine takes a while for nine processes.
START_TIMEOUT: Final = 300.0
#: The exit code of a process that can only start once somebody changes what it was told.
REFUSED: Final = 2
_PAUSE = 0.3
#: In supervisord's log; who ends within a second is "not expected" there, whatever its code.
_ENDED = re.compile(rf"exited: (\S+) \(exit status {REFUSED}; (?:not )?expected\)")


class Watched(Protocol):
    """What runs while we wait: who was told to stop, and whether all has ended."""

    told: int

    def died(self) -> bool:
        """Say whether supervisord has ended."""


def await_ready(
    urls: Mapping[str, str], folder: Path, running: Watched, *, within: float = START_TIMEOUT
) -> None:
    """Return once each of `urls`, by the name of its process, answers, or we were told to stop.

    OSError says who does not after `within` seconds; at once, and why, where one cannot start.
    """
    waited, until = dict(urls), time.monotonic() + within
    with httpx2.Client(timeout=2.0) as client:
        while waited and not running.told:
            name, url = next(iter(waited.items()))
            if _answers(client, url):
                del waited[name]
                continue
            if refused := _refused(folder):
                raise OSError(refused)
            if running.died():
                raise OSError(f"supervisord has ended; see {folder / 'supervisord.log'}")
            if time.monotonic() > until:
                late = [name for name, url in waited.items() if not _answers(client, url)]
                logs = ", ".join(str(_log(folder, name)) for name in late)
                raise OSError(f"not ready in {within:g} s: {', '.join(late)}; see {logs}")
            time.sleep(_PAUSE)


def _refused(folder: Path) -> str:
    """Return what a process said that cannot start and was given up; empty if there is none."""
    try:
        ended = _ENDED.search((folder / "supervisord.log").read_text(errors="replace"))
    except FileNotFoundError:
        return ""
    if ended is None:
        return ""
    log = _log(folder, ended[1])
    return f"{ended[1]} cannot start: {_last_words(log)}; see {log}"


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    for number in range(len(lines) - 1, -1, -1):
        if '"start failed"' in lines[number]:
            return str(json.loads(lines[number])["error"])
        if lines[number].startswith("cannot start"):  # with the wrong settings in lines below
            said = " ".join(line.strip() for line in lines[number:])
            return said.removeprefix("cannot start").lstrip(":, ")
    return "it did not say why"


def _log(folder: Path, name: str) -> Path:
    return folder / "log" / f"{name}.log"


def _answers(client: httpx2.Client, url: str) -> bool:
    try:
        return client.get(url).is_success
    except httpx2.HTTPError:
        return False
