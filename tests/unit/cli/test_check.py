"""`prodkit check` as it is typed: what it writes, and how it ends."""

from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from prodkit.cli import app
from prodkit.cli.check import _coloured

UNCLOSED = "'(' was never closed (as Python {}.{} reads it)".format(*sys.version_info)
BAD = "import uvicorn\nuvicorn.run(app)\n"


@pytest.fixture
def prodkit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        done = CliRunner().invoke(app, ["check", *words])
        assert done.exit_code == code, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done

    return run


def test_a_project_that_is_ready_ends_with_zero(prodkit, tmp_path):
    (tmp_path / "app.py").write_text("x = 1\n")
    assert prodkit().stdout == "1 file, 0 findings\n"


def test_what_is_not_ready_is_a_line_and_its_fix_and_ends_with_one(prodkit, tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/app.py").write_text(BAD)
    assert prodkit("shop", code=1).stdout.splitlines() == [
        "shop/app.py:2: no-drain: uvicorn closes its door as soon as it is told to go: "
        "requests fail",
        "    fix: serve it by HttpServer in a Service, and call Service.run()",
        "1 file, 1 finding",
    ]
    assert prodkit("shop", "--exclude", "ap*.py", code=2).stdout == ""


def test_what_cannot_be_read_is_told_by_its_place_and_ends_with_two(prodkit, tmp_path):
    (tmp_path / "a.py").write_text("x = (\n")
    (tmp_path / "b.py").write_text(BAD)
    done = prodkit(code=2)
    assert done.stderr == f"a.py:1: cannot be read: {UNCLOSED}\n"
    assert done.stdout.startswith("b.py:2: no-drain")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("nowhere", "cannot check nowhere: there is no such folder"),
        (".", "cannot check .: no .py or .proto file is in it (tests are left out)"),
    ],
)
def test_where_there_is_nothing_to_check_a_line_says_so(prodkit, path, why):
    assert prodkit(path, code=2).stderr == f"{why}\n"


def test_json_has_the_shape_that_the_page_describes(prodkit, tmp_path):
    (tmp_path / "a.py").write_text("x = (\n")
    (tmp_path / "b.py").write_text(BAD)
    assert json.loads(prodkit("--json", code=2).stdout) == {
        "version": 1,
        "files": 2,
        "findings": [
            {
                "rule": "no-drain",
                "path": "b.py",
                "line": 2,
                "message": "uvicorn closes its door as soon as it is told to go: requests fail",
                "fix": "serve it by HttpServer in a Service, and call Service.run()",
            }
        ],
        "unread": [{"path": "a.py", "line": 1, "message": UNCLOSED}],
    }


@pytest.mark.parametrize(
    ("terminal", "no_color", "coloured"),
    [(True, None, True), (True, "", True), (True, "1", False), (False, None, False)],
)
def test_colour_is_for_terminals_whose_owner_did_not_say_no(
    monkeypatch, terminal, no_color, coloured
):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    assert _coloured() is coloured


def test_text_of_the_project_commands_no_terminal(prodkit, tmp_path):
    (tmp_path / "\x1b[31mred.py").write_text(BAD)
    assert "\x1b" not in prodkit(code=1).output
