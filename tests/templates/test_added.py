"""What was added to a project by `prodkit add` leaves it as clean as `prodkit new` made it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from prodkit.scaffold import tree
from prodkit.scaffold.add import prepare_service
from prodkit.scaffold.answers import Answers
from prodkit.scaffold.event import prepare_event
from prodkit.scaffold.render import render
from prodkit.scaffold.rpc import Route, prepare_rpc
from prodkit.scaffold.update import prepare_update

SPEAKS = [
    ("http",),
    ("grpc",),
    ("events",),
    ("http", "grpc"),
    ("http", "events"),
    ("grpc", "events"),
    ("http", "grpc", "events"),
]
SLOW = [(speaks, state) for speaks in SPEAKS for state in ("none", "sqlite", "postgres")]


class Tool:
    """Runs modules in a project as its Makefile does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *words: str) -> None:
        """Run one, which must go well."""
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": "src"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def check_laid_out(self) -> None:
        self.run("ruff", "format", "--check", "--diff", ".")
        self.run("ruff", "check", ".")


class Grown(Tool):
    """A project to which one of everything was added."""

    def __init__(self, folder: Path, speaks: tuple[str, ...], state: str) -> None:
        super().__init__(folder)
        self.speaks = speaks
        tree.write(render(Answers(name="my-shop", speaks=speaks, state=state)), folder)
        update = prepare_service(folder, "stock")
        assert update.conflicts == 0
        update.write()
        for service in ("my-shop", "stock"):
            self.add_to(service)

    def add_to(self, service: str) -> None:
        if "grpc" in self.speaks:
            route = Route("get", f"/{service}/things/{{id}}") if "http" in self.speaks else None
            prepare_rpc(self.folder, service, "FindThing", route).write()
            self.run("prodkit.cli", "proto", "src/my_shop", "--root", "src")
        if "events" in self.speaks:
            prepare_event(self.folder, service, "item.sold").write()


def test_what_was_added_is_laid_out(tmp_path):
    grown = Grown(tmp_path / "my-shop", ("http", "grpc", "events"), "sqlite")
    grown.check_laid_out()
    assert prepare_update(grown.folder).changes == ()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("speaks", "state"), SLOW)
def test_every_combination_stays_clean_and_passes_all_its_tests(tmp_path, speaks, state):
    grown = Grown(tmp_path / "my-shop", speaks, state)
    grown.check_laid_out()
    grown.run("mypy")
    grown.run("pytest", "tests")


def with_reviews(folder: Path) -> Tool:
    """Return a shop of another name to which a service was added."""
    tree.write(render(Answers(name="my-shop", template="ecommerce")), folder)
    update = prepare_service(folder, "reviews")
    assert update.conflicts == 0
    update.write()
    return Tool(folder)


def test_a_service_that_is_added_to_the_shop_may_ask_which_tokens_ended(tmp_path):
    """It asks when it starts: the shop would not."""
    shop = with_reviews(tmp_path / "my-shop")
    shop.check_laid_out()
    contract = shop.folder / "src/my_shop/contract"
    assert '"notifications", "reviews"]' in (contract / "users/v1/users.proto").read_text()
    assert '"/api/v1/reviews/items"' in (contract / "reviews/v1/reviews.proto").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_shop_starts_with_a_service_that_is_added_and_passes_its_tests(tmp_path):
    shop = with_reviews(tmp_path / "my-shop")
    shop.run("prodkit.cli", "proto", "src/my_shop", "--root", "src")
    shop.check_laid_out()
    shop.run("mypy")
    shop.run("pytest", "tests/reviews")
