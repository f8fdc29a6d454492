"""What databases were told, from SQLite's trace and from PostgreSQL's log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?(?:e[+-]?\d+)?\b", re.IGNORECASE)
_MESSAGE = re.compile(r"^(?:execute [^:]*|statement): (.*)$", re.DOTALL)
_PARAMETER = re.compile(r"\$(\d+) = (NULL|'(?:[^']|'')*')")
_OPEN, _CLOSE = ("BEGIN",), ("COMMIT", "ROLLBACK", "END")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; `values` are SQL literals, in the order of its parameters."""

    at: float
    database: str
    session: str
    text: str
    values: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """What it does, without its values."""
        return _LITERAL.sub("?", self.text)

    @property
    def opens(self) -> bool:
        return self.text.upper().startswith(_OPEN)

    @property
    def closes(self) -> bool:
        return self.text.upper().startswith(_CLOSE)

    @property
    def writes(self) -> bool:
        return self.text.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE"))


@dataclass(slots=True)
class Unit:
    """A transaction, or a statement outside of one."""

    statements: list[Statement] = field(default_factory=list)

    @property
    def at(self) -> float:
        return self.statements[0].at

    @property
    def database(self) -> str:
        return self.statements[0].database

    @property
    def body(self) -> list[Statement]:
        """Its statements without BEGIN and COMMIT."""
        return [each for each in self.statements if not (each.opens or each.closes)]

    @property
    def writes(self) -> bool:
        return any(each.writes for each in self.statements)

    @property
    def shape(self) -> tuple[str, ...]:
        """What it does, without values: those of idle processes come again and again."""
        return (self.database, *(each.kind for each in self.statements))


def read_sqlite(path: Path) -> Iterator[Statement]:
    for line in path.read_text().splitlines():
        at, database, number, text = json.loads(line)
        if not text.startswith(("PRAGMA", "--")):
            yield Statement(at, database, str(number), text)


def read_postgres(path: Path, prefix: str) -> Iterator[Statement]:
    """Read the lines of databases whose names begin with `prefix`, which is taken off them."""
    for line in path.read_text(errors="replace").splitlines():
        entry = json.loads(line)
        said = _MESSAGE.match(entry.get("message", ""))
        if said is None or not entry.get("dbname", "").startswith(prefix):
            continue
        values = tuple(value for _, value in _PARAMETER.findall(entry.get("detail", "")))
        at = datetime.strptime(entry["timestamp"], "%Y-%m-%d %H:%M:%S.%f %Z").timestamp()
        database = entry["dbname"].removeprefix(prefix)
        yield Statement(at, database, entry["session_id"], said[1].rstrip("; \n"), values)


def units(statements: Iterable[Statement]) -> list[Unit]:
    """Return the transactions in the order in which they began, those that never ended left out."""
    opened: dict[str, Unit] = {}
    done: list[Unit] = []
    for each in statements:
        session = f"{each.database} {each.session}"
        if each.opens:
            opened[session] = Unit([each])
        elif session in opened:
            opened[session].statements.append(each)
            if each.closes:
                done.append(opened.pop(session))
        elif not each.closes:
            done.append(Unit([each]))
    return sorted(done, key=lambda unit: unit.at)


def between(all_of: Sequence[Unit], start: float, end: float) -> list[Unit]:
    return [unit for unit in all_of if start <= unit.at < end]
