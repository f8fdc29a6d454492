"""The page about `prodkit new` is typed line by line, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from blocks import DOCS, blocks_of, rows_of, shows

from prodkit.scaffold.answers import CHOICES
from prodkit.scaffold.record import LOCK, RECORD

PAGE = DOCS / "how-to/start-a-project.md"
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reader")


def typed(folder: Path, command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    done = subprocess.run(
        command.split(),
        cwd=folder,
        env={**environment, "PATH": f"{BIN}:{os.environ['PATH']}", "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def commands() -> list[tuple[str, str]]:
    return [
        found
        for block in blocks_of(PAGE)
        if block.language == "console"
        for found in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE)
    ]


def test_each_command_says_what_the_page_shows(folder):
    for command, wanted in commands():
        printed = typed(folder, command)
        assert shows(wanted, printed), f"$ {command}\n{printed}"
    assert sorted(os.listdir(folder)) == ["market", "my-shop"]
    for name in (RECORD, LOCK, "Makefile", "pyproject.toml"):
        assert (folder / "market" / name).exists()
        assert (folder / "my-shop" / name).exists()
    targets = (folder / "my-shop/Makefile").read_text()
    assert re.search(r"^test:", targets, re.MULTILINE)
    assert re.search(r"^demo:", targets, re.MULTILINE)


def test_the_table_has_every_choice():
    told = {
        cells[0].strip("`").removeprefix("--"): tuple(re.findall(r"`([\w-]+)`", cells[1]))
        for cells in rows_of(PAGE.read_text())
    }
    assert told.pop("deploy") == ("--no-deploy", "--deploy")
    assert told == dict(CHOICES)
