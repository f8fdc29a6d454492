"""The results on the terminal, and as a page of the documentation."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.orders.counting import Counted
from benchmarks.orders.recording import Unit

HEAD = """\
# What a checkout takes

How many checkouts a second the [example shop](../../examples/ecommerce/README.md) completes, what
one of them asks of databases, brokers and neighbors, and how fast the same statements are with no
framework around them. A checkout is `POST /api/v1/checkout`: price, reservation, the order and its
saga, authorization, capture by the sandbox's provider, sale of the stock, confirmation, and a mail.

`make bench` writes this page: {surroundings}; {servers}. {buyers} buyers at once, each with one
checkout at a time, {checkouts} checkouts a round, medians of {rounds} rounds; the client, the
sandbox and the servers share the machine's cores with the shop. Everything is durable: SQLite with
`synchronous=FULL`, PostgreSQL with fsync, RabbitMQ with quorum queues.

"""
FLOOR = """\
*Settled* counts until the last mail has arrived, *answered* until the last buyer has the answer;
who is told to come again (503) does. The *floor* are the statements of recorded checkouts, told to
the same databases again back to back by bare drivers, in the same transactions, with new ids: on
SQLite by one connection for each file, on PostgreSQL by {buyers} workers with statements prepared.
It knows no HTTP, no provider, no broker (on SQLite the broker's file is part of it), no validation,
no token, no telemetry.

"""
COUNTS = """\
Counted over {counted} checkouts, one at a time; what an idle shop does as well is left out. A round
trip to PostgreSQL is a statement, a BEGIN or a COMMIT; on SQLite these are calls of a library.

"""


@dataclass(frozen=True)
class Measured:
    """Checkouts a second, the slowest answer in seconds, processor seconds of one by family."""

    answered: float
    settled: float
    slowest: float
    refused: int
    used: dict[str, float]


@dataclass(frozen=True)
class Found:
    """What was found of one kind of shop."""

    title: str
    load: Measured
    counted: Counted | None
    layers: dict[str, float]
    floor: float | None
    workers: int

    def terminal(self) -> str:
        return f"\n## {self.title}\n\n" + "\n".join([rates([self]), *self.tables()])

    def tables(self) -> list[str]:
        lines = []
        if self.counted is not None:
            lines += [counts(self.counted), calls(self.counted), largest(self.counted)]
        lines.append(processors(self.load))
        if self.layers:
            lines.append(shares(self.layers))
        return lines


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def rates(found: Sequence[Found]) -> str:
    head = (
        "checkouts/s",
        "answered",
        "settled",
        "slowest answer",
        "503s",
        "floor",
        "settled / floor",
    )
    rows = []
    for each in found:
        load = each.load
        floor = f"{each.floor:.0f}" if each.floor else ""
        share = f"{load.settled / each.floor:.2f}" if each.floor else ""
        row = (
            f"{load.answered:.1f}",
            f"{load.settled:.1f}",
            f"{load.slowest:.2f} s",
            str(load.refused),
            floor,
            share,
        )
        rows.append((each.title, *row))
    return table(head, rows)


def counts(counted: Counted) -> str:
    """Return the table of a checkout by database."""
    columns = {
        "reading transactions": lambda unit: not unit.writes,
        "writing transactions": lambda unit: unit.writes,
        "statements": lambda unit: len(unit.body),
        "round trips": lambda unit: len(unit.statements),
    }
    by = {name: counted.per_checkout(of) for name, of in columns.items()}
    databases = sorted({name for column in by.values() for name in column})
    rows = [[name, *(f"{by[c].get(name, 0):.1f}" for c in columns)] for name in databases]
    rows.append(["**together**", *(f"{sum(by[c].values()):.1f}" for c in columns)])
    synced = ", ".join(f"{value:.1f} {name}" for name, value in sorted(counted.syncs.items()))
    total = sum(counted.syncs.values())
    said = f"Syncs to disk: {total:.1f} ({synced})." if synced else "Syncs were not counted."
    return table(("database", *columns), rows) + f"\n{said}\n"


def calls(counted: Counted) -> str:
    """Return the table of calls between services."""
    rows = [[name.rpartition(".")[2], f"{value:.1f}"] for name, value in counted.hops.items()]
    rows.sort()
    rows.append(["**together**", f"{sum(counted.hops.values()):.1f}"])
    return table(("call between services", "times"), rows)


def largest(counted: Counted) -> str:
    """Return the table of the writing transactions, those with most statements first."""
    rows = []
    for database, times, statements in sorted(
        counted.shapes(), key=lambda kind: -len(kind[2]) * kind[1]
    ):
        told = [_short(text) for text in statements if not text.startswith(("BEGIN", "COMMIT"))]
        if any(text.startswith(("INSERT", "UPDATE", "DELETE")) for text in told):
            rows.append([database, f"{times:.1f}", str(len(told)), ", ".join(told)])
    return table(("writing transaction in", "times", "statements", "which"), rows)


def _short(text: str) -> str:
    words = text.split()
    if words[0] == "UPDATE":
        return f"UPDATE {words[1]}"
    for before in ("INTO", "FROM"):
        if before in words[:-1]:
            return f"{words[0]} {words[words.index(before) + 1]}"
    return " ".join(words[:3])


def processors(load: Measured) -> str:
    rows = [[name, f"{1000 * value:.1f}"] for name, value in load.used.items()]
    rows.append(["**together**", f"{1000 * sum(load.used.values()):.1f}"])
    return table(("process", "CPU ms a checkout"), rows)


def shares(layers: dict[str, float]) -> str:
    rows = [[name, f"{100 * value:.0f} %"] for name, value in layers.items() if value >= 0.005]
    return table(("where the shop's processor time goes", "share"), rows)


def savings() -> str:
    """Return what was learned from the counts: written by hand, and kept beside this file."""
    return (Path(__file__).parent / "savings.md").read_text()


def markdown(
    found: Sequence[Found], options: argparse.Namespace, surroundings: str, servers: str
) -> str:
    """Return the page."""
    values = {**vars(options), "surroundings": surroundings, "servers": servers}
    parts = [HEAD.format(**values), rates(found), "\n", FLOOR.format(**values)]
    for each in found:
        parts.append(f"## {each.title}\n\n")
        if each.counted is not None:
            parts.append(COUNTS.format(**values))
        parts.append("\n".join(each.tables()))
        parts.append("\n")
    return "".join([*parts, savings()])


__all__ = ["Found", "Measured", "Unit", "markdown"]
