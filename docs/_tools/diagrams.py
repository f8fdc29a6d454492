"""Diagrams from a few words of text: states and the changes between them, and layers.

Both are readable as they stand in the source of a page. On the site states are inline SVG in the
colors of the theme, 360 units wide, so that a phone shows them at their size; layers are a list.

    Closed = calls pass, and are counted        a state, and what it means
    Open = calls are refused
    Closed -> Open: too many failed             a change, and why

States stand below each other in their order. Changes between neighbors are drawn between them,
one other in a lane at their right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from textwrap import wrap

WIDTH = 360
_LEFT = 10
_TITLE, _LINE = 19, 16  # heights of lines
_TEXT, _SMALL = 7.2, 6.6  # mean widths of letters at their sizes
_LANE = 214
_CHANGE = re.compile(r"(.+?) -> (.+?): (.+)")


class DiagramError(ValueError):
    """The text of a diagram says something else than states, changes or layers."""


@dataclass(frozen=True)
class Change:
    """From one state to another, by their places in the order, and why."""

    source: int
    target: int
    why: str

    @property
    def between_neighbors(self) -> bool:
        """Whether it fits between its two states."""
        return abs(self.source - self.target) == 1


@dataclass(frozen=True)
class States:
    """What a text says: states with their meanings, and changes."""

    meanings: dict[str, str]
    changes: list[Change]

    @property
    def jumps(self) -> list[Change]:
        """The changes that need a lane."""
        return [change for change in self.changes if not change.between_neighbors]


def parse(text: str) -> States:
    """Read states and changes; raises DiagramError with the line that is neither."""
    meanings: dict[str, str] = {}
    found: list[tuple[str, str, str]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        change = _CHANGE.fullmatch(line)
        name, equals, meaning = line.partition(" = ")
        if change:
            found.append((change[1], change[2], change[3]))
        elif equals:
            meanings[name] = meaning
        else:
            raise DiagramError(f"neither `state = meaning` nor `state -> state: why`: {line!r}")
    unknown = {name for pair in found for name in pair[:2]} - set(meanings)
    if unknown or not meanings:
        raise DiagramError(f"no such states: {', '.join(sorted(unknown)) or 'none at all'}")
    order = list(meanings)
    changes = [Change(order.index(a), order.index(b), why) for a, b, why in found]
    said = States(meanings, changes)
    if len(said.jumps) > 1:
        raise DiagramError("there is a lane for one change between states that are no neighbors")
    return said


def states(text: str) -> str:
    """Return the SVG of states and changes."""
    said = parse(text)
    lanes = bool(said.jumps)
    width = 186 if lanes else 300
    parts: list[str] = []
    tops: list[tuple[float, float]] = []
    y = 6.0
    for place, (name, meaning) in enumerate(said.meanings.items()):
        box, height = _box(name, meaning, y, width)
        parts.append(box)
        tops.append((y, y + height))
        y += height
        here = [c for c in said.changes if c.between_neighbors and min(c.source, c.target) == place]
        if place + 1 < len(said.meanings):
            drawn, gap = _gap(here, place, y, 20 if lanes else 38)
            parts.append(drawn)
            y += gap
    parts += [_jump(jump, tops, width) for jump in said.jumps]
    label = escape("; ".join(text.strip().splitlines()), quote=True)
    return (
        f'<svg class="diagram" role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {y + 6:g}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _box(name: str, meaning: str, y: float, width: float) -> tuple[str, float]:
    lines = wrap(meaning, int((width - 20) / _SMALL))
    height = 14 + _TITLE + _LINE * len(lines)
    drawn = [
        f'<rect x="{_LEFT}" y="{y:g}" width="{width}" height="{height}" rx="6"/>',
        _words([name], _LEFT + 10, y + 21, "state"),
        _words(lines, _LEFT + 10, y + 21 + _TITLE, "meaning"),
    ]
    return "".join(drawn), height


def _gap(changes: list[Change], place: int, y: float, letters: int) -> tuple[str, float]:
    """Draw the changes between a state and the next one; return the drawing and its height."""
    both = len({change.source for change in changes}) > 1
    rows: list[str] = []
    for change in changes:
        arrow = ("↓ " if change.source == place else "↑ ") if both else ""
        rows += wrap(arrow + change.why, letters, subsequent_indent="  " if both else "")
    height = 22.0 + _LINE * len(rows)
    drawn = []
    for column, down in enumerate((True, False)):
        if any((change.source == place) is down for change in changes):
            x = _LEFT + 22 + 14 * column
            ends = (y, y + height - 2) if down else (y + height, y + 2)
            drawn.append(_arrow([(x, ends[0]), (x, ends[1])]))
    x = _LEFT + 22 + 14 * both + 14
    drawn.append(_words(rows, x, y + 11 + _LINE * 0.7 + 1, "why"))
    return "".join(drawn), height


def _jump(jump: Change, tops: list[tuple[float, float]], width: float) -> str:
    """Draw a change between states that are no neighbors."""
    down = jump.source < jump.target
    edge, x = _LEFT + width, _LANE
    begin, end = tops[jump.source], tops[jump.target]
    y1 = (begin[0] + begin[1]) / 2 + (4 if down else -4)
    y2 = (end[0] + end[1]) / 2 + (-4 if down else 4)
    lines = wrap(jump.why, int((WIDTH - x - 10) / _TEXT))
    middle = (y1 + y2) / 2 - _LINE * len(lines) / 2 + _LINE * 0.8
    path = [(edge, y1), (x, y1), (x, y2), (edge + 2, y2)]
    return _arrow(path) + _words(lines, x + 8, middle, "why")


def _arrow(points: list[tuple[float, float]]) -> str:
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    (x0, y0), (x, y) = points[-2:]
    back_x, back_y = (x > x0) - (x < x0), (y > y0) - (y < y0)
    corners = [
        (x, y),
        (x - 8 * back_x - 4 * back_y, y - 8 * back_y - 4 * back_x),
        (x - 8 * back_x + 4 * back_y, y - 8 * back_y + 4 * back_x),
    ]
    head = " ".join(f"{cx:g},{cy:g}" for cx, cy in corners)
    return f'<polyline points="{path}"/><polygon points="{head}"/>'


def _words(lines: list[str], x: float, y: float, kind: str) -> str:
    rows = (
        f'<tspan x="{x:g}" y="{y + _LINE * row:g}">{escape(line.replace("`", ""))}</tspan>'
        for row, line in enumerate(lines)
    )
    return f'<text class="{kind}">{"".join(rows)}</text>'


def layers(text: str) -> str:
    """Return the list of layers, each `name = one thing, another thing`, outermost first."""
    rows = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, equals, things = line.partition(" = ")
        if not equals:
            raise DiagramError(f"not `name = thing, thing`: {line!r}")
        shown = "".join(f"<span>{escape(thing.strip())}</span>" for thing in things.split(","))
        rows.append(f"<li><b>{escape(name)}</b><div>{shown}</div></li>")
    return f'<ol class="layers">{"".join(rows)}</ol>'


def fence(source: str, language: str, *_: object, **__: object) -> str:
    """Draw a fenced block for pymdownx.superfences, which calls it with more than it needs."""
    return {"states": states, "layers": layers}[language](source)
