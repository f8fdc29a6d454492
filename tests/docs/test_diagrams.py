"""What the site adds to MkDocs: diagrams drawn from text, and no page that asks other hosts."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs/_tools"))
import assets
import diagrams

CIRCUIT = """
Closed = calls pass, and are counted
Open = calls are refused
Half-open = a few calls try

Closed -> Open: too many failed
Open -> Half-open: the break is over
Half-open -> Open: a probe failed
Half-open -> Closed: all passed & all is well
"""
PAGE = '<meta http-equiv="Content-Security-Policy" content="default-src \'self\'">'


def test_states_and_changes_are_drawn_and_nothing_leaves_the_picture():
    picture = ElementTree.fromstring(diagrams.states(CIRCUIT))
    space = "{http://www.w3.org/2000/svg}"
    assert len(picture.findall(f"{space}rect")) == 3
    assert len(picture.findall(f"{space}polyline")) == len(picture.findall(f"{space}polygon")) == 4
    words = " ".join(span.text for span in picture.iter(f"{space}tspan"))
    assert "all passed & all is" in words
    left, top, width, height = map(float, picture.attrib["viewBox"].split())
    for line in picture.findall(f"{space}polyline"):
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert left <= x <= left + width
            assert top <= y <= top + height


def test_a_change_between_neighbors_needs_no_lane():
    said = diagrams.parse(CIRCUIT)
    assert [(jump.source, jump.target) for jump in said.jumps] == [(2, 0)]


@pytest.mark.parametrize(
    "text", ["Closed", "A = a\nA -> B: why", "", f"{CIRCUIT}Closed -> Half-open: a second lane"]
)
def test_what_is_no_diagram_is_refused(text):
    with pytest.raises(diagrams.DiagramError):
        diagrams.states(text)


def test_layers_are_a_list():
    drawn = diagrams.layers("Doors = HTTP, gRPC <in>\nPolicies = Retry")
    items = ElementTree.fromstring(drawn).findall("li")
    assert [item.find("b").text for item in items] == ["Doors", "Policies"]
    assert [span.text for span in items[0].iter("span")] == ["HTTP", "gRPC <in>"]
    with pytest.raises(diagrams.DiagramError):
        diagrams.layers("Doors")


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<link rel="preconnect" href="https://fonts.example">',
        '<img src="a.png" srcset="a.png 1x, https://img.example/b.png 2x">',
        '<p style="background: url(https://img.example/b.png)">',
        "<style>@import 'https://fonts.example/css';</style>",
        "<svg><use href='https://img.example/i.svg#a'></use></svg>",
    ],
)
def test_what_a_browser_would_fetch_elsewhere_is_found(page, tmp_path):
    (tmp_path / "index.html").write_text(PAGE + page)
    assert len(assets.foreign(tmp_path)) == 1


def test_style_sheets_are_read_and_every_page_needs_its_policy(tmp_path):
    (tmp_path / "a.css").write_text("@font-face { src: url('https://fonts.example/f.woff2') }")
    (tmp_path / "b.html").write_text("<p>")
    assert assets.foreign(tmp_path) == [
        "a.css: https://fonts.example/f.woff2",
        "b.html: anything, without a Content-Security-Policy",
    ]


def test_what_stays_on_the_site_and_what_is_only_linked_is_no_finding(tmp_path):
    page = '<a href="https://example.org">x</a><img src="a.png"><img src="data:image/png;base64,">'
    (tmp_path / "index.html").write_text(PAGE + page)
    assert assets.foreign(tmp_path) == []
