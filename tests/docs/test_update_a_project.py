"""The page about `prodkit update` is typed line by line, beside templates that change."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit/scaffold"))
from blocks import DOCS, blocks_of, rows_of, sections_of, shows
from merging import LINES, Workshop, commit, fill
from small_project import FILES, SPEAKS

from prodkit.cli import app
from prodkit.scaffold import blueprint
from prodkit.scaffold.merge import Kind

PAGE = DOCS / "how-to/update-a-project.md"
SETTINGS = "src/my_shop/settings.py"


def typed(heading: str) -> list[tuple[str, str]]:
    section = sections_of(PAGE)[heading]
    blocks = [block for block in blocks_of(PAGE) if block.text in section]
    sessions = "".join(block.text for block in blocks if block.language == "console")
    return re.findall(r"^\$ prodkit (.+)\n((?:(?!\$ ).*\n)*)", sessions, re.MULTILINE)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    shop = Workshop(tmp_path, monkeypatch)
    monkeypatch.setattr(blueprint, "templates", lambda: shop.root)
    return shop


def follow(shop, heading: str) -> None:
    for command, wanted in typed(heading):
        done = CliRunner().invoke(app, [*command.split(), "--in", str(shop.folder)])
        assert shows(wanted, done.output), f"$ prodkit {command}\n{done.output}"


def test_the_page_says_what_update_says(shop):
    shop.templates({"Makefile": "test:\n", SETTINGS: LINES})
    shop.new()
    shop.write(SETTINGS, LINES.replace("line 2\n", "mine\n"))
    second = LINES.replace("line 8\n", "theirs\n")
    shop.templates({"Makefile": "new:\n", SETTINGS: second, "src/my_shop/tracing.py": "t\n"})
    follow(shop, "Update")
    commit(shop.folder)
    third = {SETTINGS: second.replace("line 2\n", "theirs, too\n")}
    shop.templates({"Makefile": "new:\n", "src/my_shop/tracing.py": "t\n", **third})
    assert len(typed("Conflicts")) == 2
    follow(shop, "Conflicts")


def test_the_page_says_what_add_says(shop):
    shop.templates({"README.md": "It.\n"}, version="0.1.0")
    fill(shop.root, FILES)
    fill(shop.root, {"project/base/README.md.jinja": "# {{ services | join(', ') }}\n\nIt.\n"})
    (shop.root / "project/base/README.md").unlink()
    shop.new(speaks=SPEAKS)
    shop.write("README.md", "# my_shop\n\nIt.\nIt is mine.\n")
    for heading in ("Add a service", "Add a method", "Handle an event"):
        assert len(typed(heading)) == 1
        follow(shop, heading)


def test_the_table_has_every_kind():
    told = [cells[0].strip("`") for cells in rows_of(sections_of(PAGE)["Update"])]
    assert sorted(told) == sorted(kind.value for kind in Kind)
