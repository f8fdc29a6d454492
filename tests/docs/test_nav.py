"""The site holds together: every page is in its navigation, every link leads somewhere."""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from blocks import DOCS, PAGES, ROOT, anchors_of, name_of, prose_of
from tables import MARK, WORDS, NoTableError, copied, marked, slug

ON_SITE = [page for page in PAGES if page.is_relative_to(DOCS)]
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))


def entries(nav: object) -> list[str]:
    """Return the pages of a navigation, whatever their depth."""
    if isinstance(nav, str):
        return [nav]
    items = nav.values() if isinstance(nav, dict) else nav
    return [page for item in items for page in entries(item)]


def test_every_page_is_in_the_navigation_once():
    listed = entries(CONFIG["nav"])
    there = {page.relative_to(DOCS).as_posix() for page in ON_SITE}
    assert there - set(listed) == set(), "add these to `nav` in mkdocs.yml"
    assert set(listed) - there == set(), "`nav` in mkdocs.yml names pages that are not there"
    assert len(listed) == len(set(listed))


def test_fonts_scripts_and_styles_come_with_the_package():
    assert CONFIG["theme"]["font"] is False
    assert not {"extra_javascript", "repo_url"} & set(CONFIG)
    assert all("//" not in sheet for sheet in CONFIG["extra_css"])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_their_anchors_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)", prose_of(page))
    lost = []
    for target, anchor in links:
        file = (page.parent / target).resolve() if target else page
        there = file.exists() and (not anchor or file.suffix != ".md" or anchor in anchors_of(file))
        if not there:
            lost.append(f"{target}#{anchor}" if anchor else target)
    assert lost == []


@pytest.mark.parametrize("page", ON_SITE, ids=name_of)
def test_a_page_has_one_title_and_no_heading_is_skipped(page):
    levels = [len(marks) for marks in re.findall(r"^(#{1,6}) ", prose_of(page), re.MULTILINE)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_an_anchor_is_made_as_mkdocs_makes_it():
    assert slug("A crowd at half-open, five probes") == "a-crowd-at-half-open-five-probes"
    assert slug("`Retry` and [links](x.md)") == "retry-and-links"


def test_the_tables_of_other_pages_are_copied_with_their_links():
    page = (DOCS / "comparison.md").read_text("utf-8")
    assert len(MARK.findall(page)) == len(WORDS.findall(page)) == 3
    whole = copied(page, DOCS)
    assert "<!--" not in whole
    assert len(re.findall(r"Python \d\.\d+\.\d+", whole)) == 3
    assert len(re.findall(r"(?:\d+ )?[A-Z][a-z]+ 20\d\d", whole)) >= 3
    assert "| prodkit |" in whole
    for target in re.findall(r"\]\(([^)#\s]+\.md)", whole):
        assert (DOCS / target).exists()


@pytest.mark.parametrize("what", ["table: promises.md#nowhere", 'words: promises.md "never said"'])
def test_what_is_not_there_cannot_be_copied(what):
    with pytest.raises(NoTableError):
        copied(f"<!-- {what} -->", DOCS)


def test_a_table_whose_last_column_is_prose_is_marked_for_phones():
    def html(*cells: str) -> str:
        head = "".join("<th>x</th>" for _ in cells)
        return f"<table><tr>{head}</tr><tr>{''.join(f'<td>{c}</td>' for c in cells)}</tr></table>"

    prose = "<code>a</code> sentence that says what the matter is, and why"
    assert marked(html("a", "b", prose)).startswith("<table data-stacked>")
    assert marked(html("a", "b", "1")) == html("a", "b", "1")
    assert marked(html("a", prose)) == html("a", prose)
    assert marked(html(*"abcde")).startswith("<table data-wide>")


#: What only others of its package use.
INTERNAL = {
    "data": "batch detached owner_files revisions tasks",
    "messaging": "outbox_bell outbox_leases outbox_statements",
    "security": "",
    "service": "layers mistyped",
}


@pytest.mark.parametrize("package", INTERNAL)
def test_a_public_module_is_in_the_reference(package):
    folder = ROOT / "src/prodkit" / package
    names = {path.stem for path in folder.iterdir() if not path.name.startswith("_")}
    page = (DOCS / f"reference/{package}.md").read_text("utf-8")
    told = set(re.findall(rf"^::: prodkit\.{package}\.(\w+)$", page, re.MULTILINE))
    assert told == names - set(INTERNAL[package].split())


@pytest.mark.parametrize("package", ["kernel", "policies", "stores", "transports", "gateway"])
def test_what_the_reference_names_is_there(package):
    page = (DOCS / f"reference/{package}.md").read_text("utf-8")
    modules = re.findall(r"^::: (prodkit\.[\w.]+)$", page, re.MULTILINE)
    for module in modules:
        place = ROOT / "src" / module.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").exists()
    if package == "policies":
        assert len(modules) == 12
