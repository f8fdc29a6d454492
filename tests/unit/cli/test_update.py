"""`prodkit update` and `prodkit add service` as they are typed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "scaffold"))
from merging import LINES, Workshop

from prodkit.cli import app
from prodkit.scaffold import blueprint, journal
from prodkit.scaffold.answers import Answers
from prodkit.scaffold.record import RECORD


@pytest.fixture
def shop(tmp_path, monkeypatch):
    shop = Workshop(tmp_path, monkeypatch)
    monkeypatch.setattr(blueprint, "templates", lambda: shop.root)
    return shop


@pytest.fixture
def prodkit(shop):
    def run(*words, code=0):
        done = CliRunner().invoke(app, [*words, "--in", str(shop.folder)])
        assert done.exit_code == code, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.output.splitlines()

    return run


def test_it_tells_what_it_does_with_each_file(shop, prodkit):
    shop.templates({"a.py": LINES, "b.py": LINES, "c.py": "c\n"})
    shop.new()
    shop.write("b.py", LINES.replace("line 2\n", "mine\n"))
    (shop.folder / "c.py").unlink()
    new = LINES.replace("line 8\n", "theirs\n")
    shop.templates({"a.py": new, "b.py": new, "c.py": "new\n"})
    told = [
        "updated    a.py",
        "merged     b.py",
        "gone       c.py: you deleted or moved it, and the templates changed it",
    ]
    total = "prodkit 0.1.0 -> 0.2.0: 1 updated, 1 merged, 1 gone"
    assert prodkit("update", "--dry-run") == [*told, f"{total}; nothing is written"]
    assert shop.read("a.py") == LINES
    assert prodkit("update") == [*told, total]
    assert shop.read("a.py") == new


def test_a_second_time_there_is_nothing_to_do(shop, prodkit):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.templates({"a.py": "new\n"})
    prodkit("update")
    assert prodkit("update") == ["prodkit 0.2.0 -> 0.2.0: nothing to do"]


def test_in_the_folder_of_the_project_no_folder_is_said(shop, monkeypatch):
    shop.templates({"a.py": LINES, "b/c.py": LINES, "d/e.py": "e\n"})
    shop.new()
    shop.write("b/c.py", LINES.replace("line 2\n", "mine\n"))
    shop.templates({"a.py": "new\n", "b/c.py": LINES.replace("line 8\n", "theirs\n"), "d": "d\n"})
    monkeypatch.chdir(shop.folder)
    done = CliRunner().invoke(app, ["update"])
    assert done.exit_code == 0, done.output
    told = [line.split()[:2] for line in done.output.splitlines()[:-1]]
    assert told == [["updated", "a.py"], ["merged", "b/c.py"], ["new", "d"], ["removed", "d/e.py"]]
    assert shop.read("d") == "d\n"
    assert shop.prepare().nothing


def test_a_conflict_is_exit_code_1_and_unresolved_it_is_2(shop, prodkit):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.write("a.py", "mine\n")
    shop.templates({"a.py": "theirs\n"})
    assert prodkit("update", "--dry-run", code=1)[-1] == "there would be conflicts"
    assert prodkit("update", code=1) == [
        "conflict   a.py",
        "prodkit 0.1.0 -> 0.2.0: 1 conflict",
        "conflicts: resolve them, then commit",
    ]
    [line] = prodkit("update", code=2)
    assert line == "marks of a conflict still stand in a.py: resolve them, then run it again"


def test_what_cannot_be_written_is_exit_code_1(shop, prodkit, monkeypatch):
    shop.templates({"a.py": LINES})
    shop.new()
    shop.templates({"a.py": "new\n"})

    def full(self, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(Path, "replace", full)
    assert prodkit("update", code=1)[-1].endswith(
        "No space left on device; run it again once it can"
    )


def test_outside_a_project_it_cannot_begin(shop, prodkit):
    shop.folder.mkdir()
    [line] = prodkit("update", code=2)
    assert "was not made by `prodkit new`: there is no .prodkit.toml" in line


SERVICE = {"src/__package__/__service__/service.py.jinja": '"""{{ service }}."""\n'}
LIST = {"src/__package__/main.py.jinja": "{% for each in services %}\n{{ each }}\n{% endfor %}\n"}


def test_a_service_is_added_and_edits_stay(shop, prodkit):
    shop.templates(LIST, service=SERVICE)
    shop.new()
    shop.write("src/my_shop/main.py", "# mine\n\n\nmy_shop\n")
    shop.write("src/my_shop/my_shop/service.py", "mine\n")
    assert prodkit("add", "service", "stock-keeping") == [
        "merged     src/my_shop/main.py",
        "new        src/my_shop/stock_keeping/service.py",
        "service stock-keeping: 1 merged, 1 new",
    ]
    assert shop.read("src/my_shop/stock_keeping/service.py") == '"""stock_keeping."""\n'
    assert shop.read("src/my_shop/main.py") == "# mine\n\n\nmy_shop\nstock_keeping\n"
    assert shop.read("src/my_shop/my_shop/service.py") == "mine\n"
    assert Answers.from_toml(shop.read(RECORD)).services == ("my_shop", "stock_keeping")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my-shop", "there is a service my_shop already; there are my_shop"),
        ("main", "the name main is taken: there is src/my_shop/main.py already"),
        ("mine", "the name mine is taken: there is src/my_shop/mine already"),
        ("Stock", "'Stock' is no name of a service"),
        ("class", "keyword"),
        ("../out", "is no name of a service"),
    ],
)
def test_a_name_that_is_taken_or_invalid_is_refused(shop, prodkit, name, said):
    shop.templates(LIST, service=SERVICE)
    shop.new()
    shop.write("src/my_shop/mine/__init__.py", "")
    before = shop.tree()
    [line] = prodkit("add", "service", name, code=2)
    assert said in line
    assert shop.tree() == before


def test_templates_of_another_version_are_updated_to_first(shop, prodkit):
    shop.templates(LIST, service=SERVICE)
    shop.new()
    shop.templates(LIST, service=SERVICE)
    [line] = prodkit("add", "service", "stock", code=2)
    assert line.endswith("0.2.0 is installed: run `prodkit update` first")


def test_an_added_service_that_was_interrupted_can_be_added_again(shop, prodkit, monkeypatch):
    shop.templates(LIST, service=SERVICE)
    shop.new()
    real, left = Path.replace, [4]

    def stuck(self, target):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(5, "Input/output error", str(target))
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stuck)
        prodkit("add", "service", "stock", code=1)
    assert journal.JOURNAL in shop.tree()
    assert "stock/service.py" in " ".join(shop.tree())
    prodkit("add", "service", "stock")
    assert shop.read("src/my_shop/main.py") == "my_shop\nstock\n"
    assert prodkit("update") == ["prodkit 0.1.0 -> 0.1.0: nothing to do"]
