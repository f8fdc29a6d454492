"""The results as a table, on the terminal and as a page of the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.engines.measure import Result, Row
from benchmarks.peers import surroundings, versions

#: The libraries whose versions the page names.
LIBRARIES = (
    "redis",
    "hiredis",
    "limits",
    "throttled-py",
    "aio-pika",
    "faststream",
    "asyncpg",
    "SQLAlchemy",
)
HEAD = """\
# What shared engines cost

prodkit on Redis, RabbitMQ and PostgreSQL, beside the bare client and the libraries that people use
for the same. Things a second, over {rounds} rounds in which all contestants of a table take turns:
the median and the quartiles; then how many times its floor a contestant is, as the median and the
quartiles of the rounds' own ratios; then the processor time that the client's process spends on
one. Client and server share the machine's cores, so times the floor is what can be compared.

`make bench` writes this page: {surroundings}, on {loop}.
{servers}. {libraries}.

![times the floor](engines.svg)
"""


@dataclass(frozen=True)
class Ran:
    """A row and how its contestants fared."""

    row: Row
    results: Sequence[Result]

    @property
    def title(self) -> str:
        return f"{self.row.title}, {self.row.callers} at a time"

    def floor(self, result: Result) -> Result:
        return next(each for each in self.results if each.name == result.over)

    def times(self, result: Result) -> tuple[float, float, float]:
        return result.times(self.floor(result))

    def met(self, result: Result) -> bool | None:
        """Say whether prodkit is within its budget, where there is one."""
        if self.row.budget is None or result.name != "prodkit" or not result.rounds:
            return None
        return self.times(result)[1] >= self.row.budget

    def verdict(self, result: Result) -> str:
        words = {None: "", True: "met", False: "NOT MET"}[self.met(result)]
        return f"{words} (>= {self.row.budget:g})" if words else ""


def cells(ran: Ran, result: Result) -> tuple[str, ...]:
    """Return rate, quartiles, times the floor, its quartiles, cost and verdict as text."""
    if not result.rounds:
        return "not installed", "", "", "", "", ""
    lower, upper = result.quartiles
    below, times, above = ran.times(result)
    own = result.over == result.name
    return (
        f"{result.median:,.0f}/s",
        f"{lower:,.0f} to {upper:,.0f}",
        "floor" if own else f"{times:.2f}",
        "" if own else f"{below:.2f} to {above:.2f}",
        f"{result.cost:,.0f}",
        ran.verdict(result),
    )


def terminal(ran: Ran) -> str:
    lines = [f"\n{ran.title}"]
    for result in ran.results:
        rate, quartiles, times, spread, cost, verdict = cells(ran, result)
        figures = f"{rate:>14}{quartiles:>20}{times:>8}{spread:>16}{cost:>8} us"
        lines.append(f"  {result.name:40}{figures}  {verdict}")
    return "\n".join(lines)


def summary(rans: Sequence[Ran]) -> list[str]:
    """Return one line a row: the floor, prodkit, the best peer, the budget."""
    lines = ["| | floor | prodkit | times the floor | best peer | budget |", "|" + " --- |" * 6]
    for ran in rans:
        ours = next(each for each in ran.results if each.name == "prodkit")
        floor, times = ran.floor(ours), ran.times(ours)[1]
        named = ("prodkit", *{each.over for each in ran.results})
        peers = [each for each in ran.results if each.rounds and not each.name.startswith(named)]
        best = max(peers, key=lambda each: ran.times(each)[1], default=None)
        peer = f"{ran.times(best)[1]:.2f} {best.name}" if best else ""
        verdict = ran.verdict(ours).replace("NOT MET", "**not met**")
        lines.append(
            f"| {ran.title} | {floor.median:,.0f}/s {floor.name} | {ours.median:,.0f}/s "
            f"| {times:.2f} | {peer} | {verdict} |"
        )
    return [*lines, ""]


def markdown(rans: Sequence[Ran], rounds: int, loop: str, servers: str) -> str:
    """Return the page."""
    head = HEAD.format(
        rounds=rounds,
        surroundings=surroundings(),
        loop=loop,
        servers=servers,
        libraries=versions(LIBRARIES),
    )
    lines = [head, *summary(rans)]
    for ran in rans:
        lines += [f"## {ran.title}", ""]
        lines += [ran.row.note, ""] if ran.row.note else []
        lines += ["| | rate | quartiles | x floor | quartiles | client us | budget |"]
        lines += ["|" + " --- |" * 7]
        lines += [f"| {each.name} | {' | '.join(cells(ran, each))} |" for each in ran.results]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
