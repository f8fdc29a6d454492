"""What an update is about to write, so that one that was killed goes on where it stood."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prodkit.errors import ConfigurationError
from prodkit.scaffold.disk import replace

JOURNAL = ".prodkit.update"
_HEAD = "# `prodkit update` was interrupted: run it again.\n"
_LINE = re.compile(r"([0-9a-f]{40}) ([0-9a-f]{40})  (\S.*)")


@dataclass(frozen=True, slots=True)
class Step:
    """A file to write: its blob id afterwards, and that of what the templates have there."""

    path: str
    after: str
    rendered: str


def read_journal(folder: Path) -> Mapping[str, Step]:
    """Return the steps of an update that did not end, by their paths."""
    path = folder / JOURNAL
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    found = (_LINE.fullmatch(line) for line in lines)
    return {each[3]: Step(each[3], each[1], each[2]) for each in found if each}


def write_journal(folder: Path, steps: Iterable[Step]) -> None:
    """Write down what will be done, before it is; raise OSError."""
    lines = (f"{step.after} {step.rendered}  {step.path}\n" for step in steps)
    replace(folder / JOURNAL, (_HEAD + "".join(lines)).encode())


def end_journal(folder: Path) -> None:
    """Forget it: all is done."""
    (folder / JOURNAL).unlink(missing_ok=True)
