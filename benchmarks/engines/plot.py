"""A bar for each contestant, in times its floor, on a logarithmic scale, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10

from benchmarks.engines.measure import Result
from benchmarks.engines.page import Ran
from benchmarks.policies.plot import BAR, GAP, LABELS, LINE, RIGHT, STYLE, TOP, WIDTH

#: Times the floor at the left and the right end of the scale.
LEAST, MOST = 0.1, 20.0
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)


def svg(rans: Sequence[Ran]) -> str:
    """Return the plot: a group for each row, a bar for each contestant that has a floor."""
    parts: list[str] = []
    top = TOP
    for ran in rans:
        top = _group(parts, ran, top)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img">',
        "<title>Times the floor, logarithmic</title>",
        f"<style>{STYLE}</style>",
        *_grid(top),
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _x(times: float) -> float:
    share = (log10(min(max(times, LEAST), MOST)) - log10(LEAST)) / (log10(MOST) - log10(LEAST))
    return LABELS + share * (WIDTH - LABELS - RIGHT)


def _grid(height: int) -> list[str]:
    lines = []
    for times in TICKS:
        x = f"{_x(times):.1f}"
        lines.append(f'<line class="grid" x1="{x}" y1="26" x2="{x}" y2="{height - 28}"/>')
        label = f'text-anchor="middle">{times:g} x</text>'
        lines += [f'<text class="axis" x="{x}" y="{y}" {label}' for y in (18, height - 14)]
    lines.append('<text class="axis" x="8" y="18">red: the budget of prodkit</text>')
    return lines


def _group(parts: list[str], ran: Ran, top: int) -> int:
    parts.append(f'<text class="title" x="8" y="{top}">{escape(ran.title)}</text>')
    top += 6
    first = top
    for result in ran.results:
        if result.rounds and result.over != result.name:
            _bar(parts, result, ran.times(result), top)
            top += LINE
    if ran.row.budget is not None:
        x = f"{_x(ran.row.budget):.1f}"
        parts.append(f'<line class="budget" x1="{x}" y1="{first}" x2="{x}" y2="{top}"/>')
    return top + GAP


def _bar(parts: list[str], result: Result, times: tuple[float, float, float], top: int) -> None:
    kind = "prodkit" if result.name.startswith("prodkit") else "peer"
    lower, end, upper = map(_x, times)
    one, middle = _x(1.0), top + LINE / 2
    parts += [
        f'<text x="{LABELS - 8}" y="{middle + 4}" text-anchor="end">{escape(result.name)}</text>',
        f'<rect class="{kind}" x="{min(one, end):.1f}" y="{middle - BAR / 2}" '
        f'width="{max(abs(end - one), 1):.1f}" height="{BAR}"/>',
        f'<line class="quartiles" x1="{lower:.1f}" y1="{middle}" x2="{upper:.1f}" y2="{middle}"/>',
        f'<text class="axis" x="{max(end, upper, one) + 6:.1f}" y="{middle + 4}">'
        f"{times[1]:.2f}</text>",
    ]
