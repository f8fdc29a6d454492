"""What the build of the site adds to MkDocs: diagrams, links to the repository, a last look."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import assets
import diagrams
import tables
from mkdocs.exceptions import PluginError

_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?://|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"(^ *```.*?^ *```[^\n]*$)", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^<!--.*?-->\n", re.MULTILINE | re.DOTALL)


def on_config(config: Any) -> Any:
    """Draw `states` and `layers`."""
    options = config["mdx_configs"].setdefault("pymdownx.superfences", {})
    options.setdefault("custom_fences", []).extend(
        {"name": name, "class": name, "format": diagrams.fence} for name in ("states", "layers")
    )
    return config


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Copy tables in, drop comments, and links to what is in the repository but not here."""
    docs = Path(page.file.src_dir)
    markdown = tables.copied(markdown, docs)
    folder = posixpath.dirname(page.file.src_uri)

    def shown(link: re.Match[str]) -> str:
        outside = posixpath.normpath(posixpath.join(folder, link[2])).startswith("../")
        return link[1] if outside else link[0]

    pieces = _FENCE.split(markdown)  # every second one is code
    pieces[::2] = [_LINK.sub(shown, _COMMENT.sub("", piece)) for piece in pieces[::2]]
    return "".join(pieces)


def on_page_content(html: str, **_: Any) -> str:
    """Mark the tables that a phone stacks."""
    return tables.marked(html)


def on_post_build(config: Any) -> None:
    """Refuse a site that would fetch anything from another host."""
    findings = assets.foreign(Path(config["site_dir"]))
    if findings:
        raise PluginError("the site asks other hosts:\n" + "\n".join(findings))
