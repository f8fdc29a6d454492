"""What a built page would fetch from another host: nothing, or the site is not done."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

#: Attributes that make a browser fetch something as it shows a page; a link to click is none.
_FETCHED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "use": ("href", "xlink:href"),
    "image": ("href", "xlink:href"),
    "input": ("src",),
}
_LINKS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch"} | {
    "modulepreload",
    "manifest",
}
_FOREIGN = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
_IN_CSS = re.compile(r"(?:url\(|@import)\s*[\"']?\s*((?:https?:)?//[^\"')\s;]+)", re.IGNORECASE)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._style = tag == "style"
        names = _FETCHED.get(tag, ())
        if tag == "link" and _LINKS & set(given.get("rel", "").lower().split()):
            names = ("href",)
        for name in names:
            one_by_one = given.get(name, "").split(",") if name == "srcset" else [given.get(name)]
            self.found += [value.strip() for value in one_by_one if value and _FOREIGN.match(value)]
        self.found += in_css(given.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self._style:
            self.found += in_css(data)


def in_css(text: str) -> list[str]:
    """Return what a style sheet fetches from other hosts."""
    return _IN_CSS.findall(text)


def in_html(text: str) -> list[str]:
    """Return what a page fetches from other hosts; links to click are not fetched."""
    page = _Page()
    page.feed(text)
    return page.found


def foreign(site: Path) -> list[str]:
    """Return `file: address` for all that the pages and style sheets under `site` would fetch.

    Scripts are not read; the Content-Security-Policy of each page binds them, and its absence is
    a finding too.
    """
    findings = []
    for file in sorted(site.rglob("*")):
        if file.suffix not in (".html", ".css", ".svg"):
            continue
        text = file.read_text("utf-8")
        found = in_css(text) if file.suffix == ".css" else in_html(text)
        if file.suffix == ".html" and "Content-Security-Policy" not in text:
            found.append("anything, without a Content-Security-Policy")
        findings += [f"{file.relative_to(site)}: {address}" for address in found]
    return findings
