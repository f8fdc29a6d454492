"""The findings as one table, on the terminal and as a page of the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.behaviour.scenario import NOT_CLAIMED, Found, Scenario
from benchmarks.peers import libraries, surroundings, versioned

Row = tuple[str, Found]

HEAD = """\
# What happens at three in the morning

Every resilience library works on the happy path. This page is about the other one: scenarios that
outages consist of, played to prodkit and to the libraries that people use today, each set up as its
own documentation shows it. Each cell is a count that was measured, and whether it is what it has to
be; `-` where a library does not claim to do such a thing. What is set in bold does not hold.

`make bench` writes this page: {surroundings}.
Time is simulated: sleeps, breaks and windows pass at once, a thousand callers come in the same
instant, and every run gives the same counts. prodkit is this tree; the others are
{libraries}.
pybreaker guards coroutines through its context manager (`calling()`), since its own asynchronous
form is Tornado's.
"""


@dataclass(frozen=True)
class Played:
    """A scenario and how everybody fared."""

    scenario: Scenario[object]
    rows: Sequence[Row]

    def ours(self) -> list[Row]:
        return [(name, found) for name, found in self.rows if name.startswith("prodkit")]

    def theirs(self, ok: bool) -> list[Row]:
        return [
            (name, found)
            for name, found in self.rows
            if found.ok is ok and not name.startswith("prodkit")
        ]


def terminal(played: Sequence[Played]) -> str:
    """Return the table as plain text: a line for each scenario and library."""
    lines = [f"{'scenario':54}{'library':36}{'found':36}verdict"]
    for one in played:
        for name, found in one.rows:
            verdict = {True: "ok", False: "NOT OK", None: ""}[found.ok]
            lines.append(
                f"{one.scenario.title:54}{versioned_form(name):36}{found.count:36}{verdict}"
            )
    return "\n".join(lines)


def markdown(played: Sequence[Played]) -> str:
    """Return the page."""
    parts = [HEAD.format(surroundings=surroundings(), libraries=libraries()), _summary(played)]
    parts += [_section(one) for one in played]
    parts.append(_tally(played))
    return "\n".join(parts)


def versioned_form(name: str) -> str:
    """Return a name like `limits (fixed window)` with the version in it."""
    library, space, form = name.partition(" (")
    return f"{versioned(library)}{space}{form}"


def _summary(played: Sequence[Played]) -> str:
    lines = [
        "| what happens | prodkit | where it holds | where it does not |",
        "| --- | --- | --- | --- |",
    ]
    for one in played:
        anchor = one.scenario.title.lower().replace(" ", "-").replace(",", "")
        cells = (_cell(one.ours(), short=True), _cell(one.theirs(True)), _cell(one.theirs(False)))
        lines.append(f"| [{one.scenario.title}](#{anchor}) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(rows: Sequence[Row], *, short: bool = False) -> str:
    told = [
        f"{_form(name) if short else name + ': '}{_marked(found)}"
        for name, found in rows
        if found != NOT_CLAIMED
    ]
    return "<br>".join(told) or "-"


def _form(name: str) -> str:
    _, _, form = name.partition(" (")
    return f"{form.rstrip(')')}: " if form else ""


def _marked(found: Found) -> str:
    return f"**{found.count}**" if found.ok is False else found.count


def _section(one: Played) -> str:
    scenario = one.scenario
    lines = [f"## {scenario.title}", "", scenario.story, "", f"Must hold: {scenario.must}.", ""]
    lines += ["| library | found | |", "| --- | --- | --- |"]
    for name, found in one.rows:
        verdict = {True: "ok", False: "not ok", None: ""}[found.ok]
        lines.append(f"| {versioned_form(name)} | {_marked(found)} | {verdict} |")
    return "\n".join(lines) + "\n"


def _tally(played: Sequence[Played]) -> str:
    """Count the scenarios by library; of several forms the best one stands for it."""
    held: dict[str, list[bool]] = {}
    for one in played:
        best: dict[str, bool] = {}
        for name, found in one.rows:
            if found.ok is not None:
                library = name.partition(" (")[0]
                best[library] = best.get(library, False) or found.ok
        for library, ok in best.items():
            held.setdefault(library, []).append(ok)
    lines = ["## In all", "", "Each library in each scenario by the best of its forms.", ""]
    lines += ["| library | scenarios | holds |", "| --- | --- | --- |"]
    lines += [f"| {versioned(name)} | {len(oks)} | {sum(oks)} |" for name, oks in held.items()]
    return "\n".join(lines) + "\n"
