"""Tables: those of one page that stand on another, and those that are too wide for a phone.

A page asks for another's table by a comment, `<!-- table: benchmarks/policies.md#heading -->`, and
for where and when that was measured by the words before: `<!-- words: benchmarks/policies.md
"writes this page: " -->`, on one line.
"""

from __future__ import annotations

import re
from pathlib import Path

MARK = re.compile(r"^<!-- table: (?P<page>[\w/-]+\.md)#(?P<anchor>[\w-]+) -->$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?://)([^)]*)\)")

WORDS = re.compile(r'^<!-- words: (?P<page>[\w/-]+\.md) "(?P<first>[^"]+)" -->$', re.MULTILINE)
_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_ROW = re.compile(r"<tr>(.*?)</tr>", re.DOTALL)
_CELL = re.compile(r"<t[hd][^>]*>(.*?)</t[hd]>", re.DOTALL)
_TAG = re.compile(r"<[^>]+>")
#: Letters in a last column from which on it is prose, and wants a line of its own on a phone.
_PROSE = 20


class NoTableError(ValueError):
    """A page asks for a table, or for words, that are not there."""


def copied(markdown: str, docs: Path) -> str:
    """Return `markdown` with every mark replaced by the first table under that heading."""
    markdown = WORDS.sub(lambda mark: words(docs, mark["page"], mark["first"]), markdown)
    return MARK.sub(lambda mark: table(docs, mark["page"], mark["anchor"]), markdown)


def words(docs: Path, page: str, first: str) -> str:
    """Return "Measured: " and the rest of the paragraph that has the words `first`, after them."""
    text = (docs / page).read_text("utf-8")
    if first not in text:
        raise NoTableError(f"{page} does not say {first!r}")
    rest = "Measured: " + text.partition(first)[2].partition("\n\n")[0]
    folder = page.rpartition("/")[0]
    return _LINK.sub(lambda link: f"]({_within(link[1], page, folder)})", rest)


def table(docs: Path, page: str, anchor: str) -> str:
    """Return the first table under the heading of `anchor`, its links made the page's own."""
    section = False
    rows: list[str] = []
    for line in (docs / page).read_text("utf-8").splitlines():
        if line.startswith("#"):
            section = slug(line.lstrip("# ")) == anchor
        elif section and line.startswith("|"):
            rows.append(line)
        elif rows:
            break
    if not rows:
        raise NoTableError(f"{page} has no table under #{anchor}")
    folder = page.rpartition("/")[0]
    return "\n".join(
        _LINK.sub(lambda link: f"]({_within(link[1], page, folder)})", r) for r in rows
    )


def slug(heading: str) -> str:
    """Return the anchor of a heading, as MkDocs makes it."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def _within(link: str, page: str, folder: str) -> str:
    return f"{page}{link}" if link.startswith("#") else f"{folder}/{link}".lstrip("/")


def marked(html: str) -> str:
    """Say of tables with three and four columns whose last is prose, and of wider ones, that."""
    return _TABLE.sub(lambda found: _marked(found[0]), html)


def _marked(whole: str) -> str:
    rows = [_CELL.findall(row) for row in _ROW.findall(whole)]
    longest = max((len(_TAG.sub("", row[-1])) for row in rows if row), default=0)
    if len(rows[0]) in (3, 4) and longest > _PROSE:
        return whole.replace("<table>", "<table data-stacked>", 1)
    if len(rows[0]) > 4:
        return whole.replace("<table>", "<table data-wide>", 1)
    return whole
