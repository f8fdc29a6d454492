"""A bar for each contestant on a logarithmic scale, as SVG that any page can show.

No script, no font of its own; the colors follow the reader's light or dark setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10

from benchmarks.policies.page import Ran

WIDTH, LABELS, RIGHT = 860, 300, 90
LINE, BAR, GAP, TOP = 17, 11, 30, 44
#: Microseconds at the left and the right end of the scale.
LEAST, MOST = 0.05, 100.0

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 } .axis { fill: #57606a; font-size: 11px }
  .grid { stroke: #d0d7de } .floor { fill: #afb8c1 } .peer { fill: #6e9bd1 }
  .prodkit { fill: #1a7f37 } .quartiles { stroke: #24292f }
  .budget { stroke: #cf222e; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .axis { fill: #9198a1 } .grid { stroke: #30363d }
    .floor { fill: #57606a } .peer { fill: #4b7bb5 } .prodkit { fill: #3fb950 }
    .quartiles { stroke: #e6edf3 } .budget { stroke: #ff7b72 }
  }
"""


def svg(rans: Sequence[Ran]) -> str:
    """Return the plot: a group for each row, a bar for each contestant that ran."""
    parts: list[str] = []
    top = TOP
    for ran in rans:
        top = _group(parts, ran, top)
    height = top
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>Microseconds a call over a bare await, logarithmic</title>",
        f"<style>{STYLE}</style>",
        *_grid(height),
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _x(us: float) -> float:
    share = (log10(min(max(us, LEAST), MOST)) - log10(LEAST)) / (log10(MOST) - log10(LEAST))
    return LABELS + share * (WIDTH - LABELS - RIGHT)


def _grid(height: int) -> list[str]:
    lines = []
    for us in (0.1, 0.3, 1, 3, 10, 30, 100):
        x = f"{_x(us):.1f}"
        lines.append(f'<line class="grid" x1="{x}" y1="26" x2="{x}" y2="{height - 28}"/>')
        label = f'text-anchor="middle">{us:g} us</text>'
        lines += [f'<text class="axis" x="{x}" y="{y}" {label}' for y in (18, height - 14)]
    lines.append('<text class="axis" x="8" y="18">red: the budget of prodkit</text>')
    return lines


def _group(parts: list[str], ran: Ran, top: int) -> int:
    parts.append(f'<text class="title" x="8" y="{top}">{escape(ran.title)}</text>')
    top += 6
    first = top
    for result in ran.results:
        if result.rounds:
            _bar(parts, result.name, result.median, result.quartiles, top)
            top += LINE
    budget = ran.row.budget
    if budget is not None and ran.row.of_floor and ran.floor is not None:
        budget *= ran.floor.median
    if budget is not None:
        x = f"{_x(budget):.1f}"
        parts.append(f'<line class="budget" x1="{x}" y1="{first}" x2="{x}" y2="{top}"/>')
    return top + GAP


def _bar(
    parts: list[str], name: str, median: float, quartiles: tuple[float, float], top: int
) -> None:
    kind = "floor" if name == "floor" else "prodkit" if name.startswith("prodkit") else "peer"
    middle, end = top + LINE / 2, _x(median)
    lower, upper = (_x(us) for us in quartiles)
    label = escape(name)
    parts += [
        f'<text x="{LABELS - 8}" y="{middle + 4}" text-anchor="end">{label}</text>',
        f'<rect class="{kind}" x="{LABELS}" y="{middle - BAR / 2}" '
        f'width="{max(end - LABELS, 1):.1f}" height="{BAR}"/>',
        f'<line class="quartiles" x1="{lower:.1f}" y1="{middle}" x2="{upper:.1f}" y2="{middle}"/>',
        f'<text class="axis" x="{max(end, upper) + 6:.1f}" y="{middle + 4}">{median:.2f}</text>',
    ]
