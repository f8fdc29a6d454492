"""The results as a table, on the terminal and as a page of the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.behaviour.page import versioned_form
from benchmarks.peers import libraries, surroundings
from benchmarks.policies.measure import Result, Row
from benchmarks.policies.memory import Weight

HEAD = """\
# What a policy costs

Microseconds of processor time that a call pays for a policy, over {rounds} rounds in which all
contestants of a row take turns: the median and the quartiles. The floor is the least that anybody
could write by hand for that one purpose, with nothing to configure. *prodkit* is the policy as a
door drives it; *decorated* includes making the call, as `@pipeline` does on a plain function. The
peers are decorated functions, or what their documentation shows. Compare within a row of one run.

`make bench` writes this page: {surroundings}, on {loop} unless a row says otherwise.
The peers: {libraries}.
What each of them does when things go wrong is on [another page](behaviour.md); a policy that does
less may cost less.

![microseconds a call, on a logarithmic scale](policies.svg)
"""

NOTES = """\
Processor time is taken (`time.process_time_ns`), since wall time on a machine that does other
things as well measures those. The garbage collector runs as ever; what was there before a row is
frozen, so that nobody pays for somebody else's objects. Memory is the growth of the resident set of
a process of its own. A limiter "without keys" counts all callers together. Where a machine does
other things meanwhile, a row's figures rise together, up to twofold; times the floor is what stays.
"""


@dataclass(frozen=True)
class Ran:
    """A row and how its contestants fared on one event loop."""

    row: Row
    loop: str
    results: Sequence[Result]

    @property
    def title(self) -> str:
        return self.row.title + (" (asyncio)" if self.loop == "asyncio" else "")

    @property
    def floor(self) -> Result | None:
        first = self.results[0]
        return first if first.name == "floor" and first.rounds else None

    def met(self, result: Result) -> bool | None:
        """Say whether prodkit's own result is within the budget, where there is one."""
        if self.row.budget is None or result.name != "prodkit" or not result.rounds:
            return None
        return self._spent(result) <= self.row.budget

    def _spent(self, result: Result) -> float:
        if self.row.of_floor and self.floor is not None:
            return result.median / self.floor.median
        return result.median

    def budget(self) -> str:
        if self.row.budget is None:
            return ""
        return f"{self.row.budget:g} x floor" if self.row.of_floor else f"{self.row.budget:g} us"


def cells(ran: Ran, result: Result) -> tuple[str, str, str, str]:
    """Return median, quartiles, times the floor and verdict as text."""
    if not result.rounds:
        return "not installed", "", "", ""
    lower, upper = result.quartiles
    floor = ran.floor
    times = f"{result.median / floor.median:.1f}" if floor and floor.median > 0 else ""
    verdict = {None: "", True: f"met ({ran.budget()})", False: f"NOT MET ({ran.budget()})"}
    return (
        f"{result.median:.2f}",
        f"{lower:.2f} to {upper:.2f}",
        times,
        verdict[ran.met(result)],
    )


def terminal(ran: Ran) -> str:
    lines = [f"\n{ran.title}: us over {ran.row.over}"]
    for result in ran.results:
        median, quartiles, times, verdict = cells(ran, result)
        name = versioned_form(result.name)
        lines.append(f"  {name:42}{median:>14}{quartiles:>20}{times:>9}  {verdict}")
    return "\n".join(lines)


def summary(rans: Sequence[Ran]) -> list[str]:
    """Return one line a row: the floor, prodkit, the cheapest and the dearest peer, the budget."""
    lines = ["| us | floor | prodkit | cheapest peer | dearest peer | budget |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for ran in rans:
        ours = next(result for result in ran.results if result.name.startswith("prodkit"))
        peers = sorted(
            (result for result in ran.results if result.rounds and _is_peer(result.name)),
            key=lambda result: result.median,
        )
        first, last = (_named(peers[0]), _named(peers[-1])) if peers else ("", "")
        floor = f"{ran.floor.median:.2f}" if ran.floor else ""
        verdict = cells(ran, ours)[3].replace("NOT MET", "**not met**")
        lines.append(
            f"| {ran.title} | {floor} | {ours.median:.2f} | {first} | {last} | {verdict} |"
        )
    return [*lines, ""]


def _is_peer(name: str) -> bool:
    return not name.startswith(("floor", "prodkit"))


def _named(result: Result) -> str:
    return f"{result.median:.2f} {result.name}"


def weights(title: str, count: int, weighed: Sequence[Weight]) -> list[str]:
    lines = [
        f"## {title}",
        "",
        "| | bytes each | MB in all | us each |",
        "| --- | --- | --- | --- |",
    ]
    for one in weighed:
        if one.bytes_each is None or one.us_each is None:
            lines.append(f"| {one.name} | {one.why} | | |")
            continue
        total = one.bytes_each * count / 1e6
        name = versioned_form(one.name)
        lines.append(f"| {name} | {one.bytes_each:,.0f} | {total:,.0f} | {one.us_each:.1f} |")
    return [*lines, ""]


def markdown(
    rans: Sequence[Ran], rounds: int, loop: str, memory: Sequence[tuple[str, int, list[Weight]]]
) -> str:
    """Return the page."""
    head = HEAD.format(rounds=rounds, surroundings=surroundings(), loop=loop, libraries=libraries())
    lines = [head, *summary(rans)]
    for ran in rans:
        lines += [f"## {ran.title}", "", f"Over {ran.row.over}.", ""]
        lines += ["| | us | quartiles | x floor | budget |", "| --- | --- | --- | --- | --- |"]
        for result in ran.results:
            name = versioned_form(result.name)
            lines.append(f"| {name} | {' | '.join(cells(ran, result))} |")
        lines.append("")
    for title, count, weighed in memory:
        lines += weights(title, count, weighed)
    return "\n".join([*lines, "## How it was measured", "", NOTES])
