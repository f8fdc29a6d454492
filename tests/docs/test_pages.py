"""Every block of code on the site and in the README does what the page says, or says why not."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "docs/_tools"))
import diagrams
from blocks import PAGES, ROOT, TUTORIAL, Block, blocks_of, name_of, shows

from prodkit import cli

PYTHON = [page for page in PAGES if any(b.language == "python" for b in blocks_of(page))]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
#: What may stay unread: `text` is shown, and looked at where it follows on Python.
READ = {"python", "console", "yaml", "json", "toml", "states", "layers", "text", ""}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", "") or ""):
            del sys.modules[name]


def run(block: Block, names: dict[str, object], folder: Path) -> None:
    """Run a block in the names of its page; one with a file's name is that module."""
    if not block.title:
        exec(compile(block.text, str(block), "exec", dont_inherit=True), names)
        return
    (folder / block.title).write_text(block.text)
    sys.modules.pop(Path(block.title).stem, None)
    importlib.invalidate_caches()
    importlib.import_module(Path(block.title).stem)


@pytest.mark.parametrize("page", [p for p in PYTHON if p not in TUTORIAL], ids=name_of)
def test_the_python_of_a_page_runs_in_order_and_prints_what_it_shows(page, folder, capsys):
    names: dict[str, object] = {"__name__": "page"}
    blocks = blocks_of(page)
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language != "python" or block.why_not:
            continue
        run(block, names, folder)
        printed = capsys.readouterr().out
        if after is not None and after.language == "text":
            assert shows(after.text, printed), f"{after} shows something else than\n{printed}"
        else:
            assert printed == "", f"{block} prints what the page does not show"


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language not in ("python", "text")], ids=str
)
def test_a_block_of_another_kind_can_be_read(block):
    assert block.language in READ or block.why_not, "a test must know how to read it"
    if block.language == "yaml":
        assert list(yaml.safe_load_all(block.text))
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language in ("states", "layers"):
        assert diagrams.fence(block.text, block.language).startswith("<")


def commands() -> list[tuple[Block, str]]:
    return [
        (block, line[2:])
        for block in BLOCKS
        if block.language == "console" and not block.why_not
        for line in block.text.splitlines()
        if line.startswith("$ ")
    ]


@pytest.mark.parametrize(("block", "command"), commands(), ids=str)
def test_a_command_exists(block, command):
    words = [word for word in shlex.split(command) if "=" not in word or word.startswith("-")]
    program, *rest = words
    if program == "make":
        assert set(rest) <= set(
            re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        )
    elif program == "prodkit":
        found = get_command(cli.app)
        for word in rest:
            found = getattr(found, "commands", {}).get(word, found)
        known = {option for each in found.params for option in each.opts}
        assert not hasattr(found, "commands"), f"{command} is no command"
        assert {word for word in rest if word.startswith("--")} <= known
    elif command == "python -m venv .venv":
        assert sys.version_info >= (3, 11)
    elif program.endswith("pip"):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        asked = re.findall(r"prodkit-services(?:\[([\w,-]+)\])?", command)
        extras = {extra for each in asked for extra in each.split(",") if extra}
        assert extras <= set(project["optional-dependencies"])
    else:
        assert block.page in TUTORIAL, "nobody runs this: say why in a `not run` comment"


@pytest.mark.parametrize(
    ("page", "printed", "same"),
    [
        ("a  b\n", "a b", True),
        ("a", "a b", False),
        ("a...", "a b", True),
        ("a\n...", "a", True),
        ("...b", "a c", False),
        ("a...c...d", "a b c b d", True),
        ("a...c...d", "a c", False),
        ("aa...aa", "aaa", False),
    ],
)
def test_dots_stand_for_anything_and_nothing_else_does(page, printed, same):
    assert shows(page, printed) is same


def test_what_is_not_run_says_why():
    """Run with -s to read the list."""
    unrun = [block for block in BLOCKS if block.why_not]
    sys.stdout.writelines(f"{block} ({block.language}): {block.why_not}\n" for block in unrun)
    assert all(len(block.why_not) > 10 for block in unrun)
    python = [block for block in unrun if block.language == "python"]
    assert len(python) <= 3, "Python that no test runs is the exception"


def ruff_says(*arguments: str) -> str:
    command = [sys.executable, "-m", "ruff", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_the_code_is_laid_out_and_complete_as_our_own(tmp_path):
    """Whole pages have every name they use; each block is formatted."""
    for page in PYTHON:
        name = name_of(page).replace("/", "_").removesuffix(".md")
        blocks = [b for b in blocks_of(page) if b.language == "python" and not b.why_not]
        for number, block in enumerate(blocks):
            (tmp_path / f"{name}_{number}.py").write_text(block.text)
        whole = tmp_path / f"whole_{name}"
        whole.mkdir()
        (whole / "page.py").write_text("\n\n\n".join(b.text for b in blocks if not b.title))
        for block in blocks:
            if block.title:
                (whole / block.title).write_text(block.text)
    laid_out = ["format", "--check", "--isolated", "--line-length", "100"]
    blocks_alone = [str(path) for path in sorted(tmp_path.glob("*.py"))]
    done = ruff_says(*laid_out, "--diff", *blocks_alone)
    assert done == ""
    checked = ["check", "--isolated", "--select", "E,F,B,UP,SIM,ASYNC,PIE,RET", "--quiet"]
    checked += ["--ignore", "E402,RET504", "--line-length", "100", "--target-version", "py311"]
    wholes = [str(path) for path in sorted(tmp_path.glob("whole_*"))]
    done = ruff_says(*checked, *wholes)
    assert done == ""
