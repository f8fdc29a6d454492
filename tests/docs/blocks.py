"""The pages of the documentation and the code on them, as tests see them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

sys.path.insert(0, str(Path(__file__).parents[2] / "docs/_tools"))
from tables import slug

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: The README, and the pages of the site.
PAGES = [
    ROOT / "README.md",
    *sorted(path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).parts[0][0] != "_"),
]
#: A page whose commands are run one after the other, by test_tutorial.py.
TUTORIAL = sorted((DOCS / "tutorial").glob("[0-9]*.md"))

_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<why>[^>]+?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>[\w-]*)(?P<attributes>[^\n`]*)\n"
    r"(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its attributes (`title="app.py"`), and why it is not run."""

    page: Path
    line: int
    language: str
    text: str
    attributes: dict[str, str] = field(default_factory=dict)
    why_not: str = ""

    @property
    def title(self) -> str:
        """What stands above it: the name of a file, or of a terminal."""
        return self.attributes.get("title", "")

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """Return the path of a page from the root of the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return list(_blocks(page, page.read_text("utf-8")))


def _blocks(page: Path, text: str) -> Iterator[Block]:
    for found in _FENCE.finditer(text):
        yield Block(
            page,
            text.count("\n", 0, found.start("language")) + 1,
            found["language"],
            dedent(found["text"]),
            dict(_ATTRIBUTE.findall(found["attributes"])),
            " ".join((found["why"] or "").split()),
        )


def prose_of(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as MkDocs makes them."""
    headings = re.findall(r"^#{1,6} (.+?)(?: \{#([\w-]+)\})?$", prose_of(page), re.MULTILINE)
    return {given or slug(heading) for heading, given in headings}


def rows_of(section: str) -> list[list[str]]:
    """Return the rows of the tables in a piece of a page, without their heads."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    heads = {place - 1 for place, row in enumerate(rows) if set("".join(row)) <= set("-: ")}
    return [row for place, row in enumerate(rows) if not {place, place - 1} & heads]


def sections_of(page: Path) -> dict[str, str]:
    """Return what stands under each heading of the second level."""
    _, *parts = re.split(r"^## ", page.read_text("utf-8"), flags=re.MULTILINE)
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


def shows(page: str, printed: str) -> bool:
    """Say whether a page shows what was printed; `...` stands for anything, blanks for blanks."""
    first, *others = [" ".join(piece.split()) for piece in page.split("...")]
    rest = " ".join(printed.split())
    if not others:
        return rest == first
    if not rest.startswith(first):
        return False
    rest = rest[len(first) :]
    for piece in others[:-1]:
        _, found, rest = rest.partition(piece) if piece else ("", "found", rest)
        if not found:
            return False
    return rest.endswith(others[-1])
