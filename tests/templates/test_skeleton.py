"""What `prodkit new` makes, whatever it was answered: clean as generated, typed, and it works."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from skeleton import (
    LONG,
    ROOT,
    SHORT,
    VALUES,
    answered,
    called,
    every,
    own_tests,
    pairs,
    pairwise,
    run,
    single,
    sources,
    write,
)

BIN = Path(sys.executable).parent
#: What the fast suite tries: the one by default runs its tests, and all at once is typed.
DEFAULT = {name: values[0] for name, values in VALUES.items()}
ALL = {
    "speaks": ("http", "grpc", "events"),
    "state": "postgres",
    "limiter": "redis",
    "broker": "rabbitmq",
    "deploy": True,
}


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """Every combination, under names of every length, with one service and with three."""
    folder = tmp_path_factory.mktemp("projects")
    for number, options in enumerate(every()):
        name = ("my-shop", SHORT, LONG)[number % 3]
        package = name.replace("-", "_")
        services = (package,) if name == "my-shop" else (package, "b", "z" * 40)
        write(folder / f"{number}-{name}", answered(options, name, services), compiled=False)
    return folder


def test_every_combination_is_laid_out_and_clean_as_generated(projects):
    assert len(every()) > 100
    run(BIN / "ruff", "check", "--no-cache", ".", folder=projects)
    run(BIN / "ruff", "format", "--no-cache", "--check", ".", folder=projects)


def test_every_file_compiles_and_what_it_takes_from_prodkit_is_there(projects):
    wanted = set()
    for text in sources(projects):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prodkit"):
                wanted |= {(node.module, each.name) for each in node.names}
    assert len(wanted) > 40
    for module, name in wanted:
        there = hasattr(importlib.import_module(module), name)
        assert there or importlib.util.find_spec(f"{module}.{name}"), f"{module}.{name}"


def test_nothing_of_the_templates_is_left_over(projects):
    for path in projects.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not re.search(r"\{%|%\}|\{\{ |__package__/|__service__", text), path


def test_every_pair_of_answers_is_among_the_pairs():
    held = {pair for each in pairwise() for pair in pairs(each)}
    assert held == {pair for each in every() for pair in pairs(each)}
    assert len(pairwise()) < 40


def typed(folder: Path, combinations: list[dict[str, object]]) -> str:
    """Have mypy look at some projects at once, each by the strict settings that they share."""
    paths = []
    for number, options in enumerate(combinations):
        write(folder / str(number), answered(options, f"shop{number}"))
        paths.append(folder / str(number) / "src")
    grpc = next(n for n, each in enumerate(combinations) if "grpc" in each["speaks"])
    config = (folder / str(grpc) / "pyproject.toml").read_text()
    config = re.sub(r"^(files|mypy_path) = .*\n", "", config, flags=re.MULTILINE)
    config = config.replace(f'"shop{grpc}.contract.*"', '"*.contract.*"')
    (folder / "pyproject.toml").write_text(config)
    where = os.pathsep.join(map(str, (*paths, ROOT / "src")))
    named = [word for n in range(len(paths)) for word in ("-p", f"shop{n}")]
    return run(BIN / "mypy", "--cache-dir", folder / "cache", *named, folder=folder, MYPYPATH=where)


def test_all_at_once_is_typed(tmp_path):
    assert "no issues" in typed(tmp_path, [ALL])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_option_and_every_pair_of_options_is_typed(tmp_path):
    assert "no issues" in typed(tmp_path, [*single(), *pairwise()])


def test_what_is_made_by_default_passes_its_own_tests(tmp_path):
    write(tmp_path, answered(DEFAULT, "my-shop"))
    assert "passed" in own_tests(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", [ALL, *single(), *pairwise()], ids=called)
def test_every_pair_of_options_passes_its_own_tests(options, tmp_path):
    write(tmp_path, answered(options, "my-shop", ("my_shop", "second")))
    assert "passed" in own_tests(tmp_path)
