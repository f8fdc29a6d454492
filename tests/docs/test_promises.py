"""Every promise in the documents has its test, and none says more than is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    row
    for row in (ROOT / "docs" / "promises.md").read_text("utf-8").splitlines()
    if row.startswith("| ") and row != "| promise | test |"
]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*/*.md")]


@pytest.mark.parametrize("row", ROWS)
def test_each_promise_names_a_test_that_exists(row):
    named = re.fullmatch(r"\| .+\. \| `([\w/]+\.py)::(\w+)` \|", row)
    assert named, "a row is a sentence and one test"
    path, name = named.groups()
    source = (ROOT / path).read_text("utf-8")
    assert re.search(rf"^ *(?:async def|def|class) {name}\b|^{name} = ", source, re.MULTILINE)


def test_there_are_promises():
    assert len(ROWS) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_unqualified_is_promised(page):
    text = re.sub(r"\s+", " ", page.read_text("utf-8").lower())
    assert re.findall(r'(?<!")exactly[ -]once|no data loss|never loses', text) == []
