"""`prodkit add rpc` and `prodkit add event` as they are typed, in a small project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "scaffold"))
from merging import Workshop, fill
from small_project import FILES, HANDLERS, PROTO, SPEAKS

from prodkit.cli import app
from prodkit.scaffold import blueprint
from prodkit.scaffold.event_table import entries_of


@pytest.fixture
def shop(tmp_path, monkeypatch):
    shop = Workshop(tmp_path, monkeypatch)
    shop.templates({"README.md": "It.\n"}, version="0.1.0")
    fill(shop.root, FILES)
    monkeypatch.setattr(blueprint, "templates", lambda: shop.root)
    return shop


@pytest.fixture
def add(shop):
    def run(*words, code=0):
        if not shop.folder.exists():
            shop.new(commits=False, speaks=SPEAKS)
        done = CliRunner().invoke(app, ["add", *words, "--in", str(shop.folder)])
        assert done.exit_code == code, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.output.splitlines()

    return run


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def tidy(folder: Path) -> None:
    assert run(folder, "-m", "ruff", "format", "--check", "--diff", "src", "tests") == ""
    assert run(folder, "-m", "ruff", "check", "--select", "E,F,I,W,B", "src", "tests") == ""


SERVICER_FILE = "src/my_shop/my_shop/servicer.py"
PROTO_FILE = "src/my_shop/contract/my_shop/v1/my_shop.proto"


def test_a_method_comes_with_its_contract_its_servicer_and_a_test_that_passes(shop, add):
    assert add("rpc", "my-shop", "GetItem", "--get", "/v1/items/{id}/parts/{part_id}:now") == [
        f"changed    {PROTO_FILE}",
        f"changed    {SERVICER_FILE}",
        "new        tests/my_shop/test_get_item.py",
        "next: make proto format test",
    ]
    assert 'get: "/v1/items/{id}/parts/{part_id}:now"}' in shop.read(PROTO_FILE)
    assert 'import "google/api/annotations.proto";' in shop.read(PROTO_FILE)
    add("rpc", "my-shop", "AddItem", "--post", "/v1/items")
    add("rpc", "my-shop", "A" + "VeryLongName" * 3)
    tidy(shop.folder)
    proto = ("-m", "prodkit.cli", "proto", "src/my_shop/contract", "-I", "src")
    assert run(shop.folder, *proto) == ""
    pytest_ = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "pythonpath=src", "tests")
    assert run(shop.folder, *pytest_) == ""
    shop.write(SERVICER_FILE, shop.read(SERVICER_FILE).replace("id=request.id", "id='other'"))
    assert "test_get_item" in run(shop.folder, *pytest_), "the test notices"


def test_an_event_comes_with_its_handler_its_place_and_a_test_that_passes(shop, add):
    assert add("event", "my-shop", "item.sold") == [
        "changed    src/my_shop/my_shop/service.py",
        "new        src/my_shop/my_shop/on_item_sold.py",
        "new        tests/my_shop/test_on_item_sold.py",
        "next: make format test",
    ]
    add("event", "my-shop", "a_" + "very_long_name." * 2 + "changed")
    assert list(entries_of(shop.read("src/my_shop/my_shop/service.py")).items())[:2] == [
        ("my_shop.changed", "kit.once(on_my_shop_changed)"),
        ("item.sold", "kit.once(on_item_sold)"),
    ]
    tidy(shop.folder)
    pytest_ = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "pythonpath=src", "tests")
    assert run(shop.folder, *pytest_) == ""
    handler = "src/my_shop/my_shop/on_item_sold.py"
    shop.write(handler, shop.read(handler) + "    raise KeyError(event.id)\n")
    assert "test_on_item_sold" in run(shop.folder, *pytest_), "the test notices"


def test_a_dry_run_writes_nothing(shop, add):
    shop.new(commits=False, speaks=SPEAKS)
    before = shop.tree()
    assert add("rpc", "my-shop", "GetItem", "--dry-run")[-1] == "nothing is written"
    assert add("event", "my-shop", "item.sold", "--dry-run")[-1] == "nothing is written"
    assert shop.tree() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rpc", "other", "GetItem"), "there is no service other; there are my_shop"),
        (("rpc", "my-shop", "getItem"), "'getItem' is no name of a method"),
        (("rpc", "my-shop", "Get_Item"), "is no name of a method"),
        (("rpc", "my-shop", "None"), "is no name of a method"),
        (("rpc", "my-shop", "Echo"), "MyShopService.Echo is there already"),
        (("rpc", "my-shop", "MyShop", "--get", "v1"), "'v1' is no path of a method"),
        (("rpc", "my-shop", "Get", "--get", "/v1//a"), "is no path of a method"),
        (("rpc", "my-shop", "Get", "--get", "/v1/{id=*}"), "is no path of a method"),
        (("rpc", "my-shop", "Get", "--get", "/v1/{a}/{a}"), "names a variable twice"),
        (("rpc", "my-shop", "Get", "--get", "/v1/{class}"), "class is a keyword of Python"),
        (("rpc", "my-shop", "Get", "--get", "/a", "--post", "/a"), "--get or --post"),
        (("event", "my-shop", "sold"), "'sold' is no name of an event"),
        (("event", "my-shop", "Item.sold"), "is no name of an event"),
        (("event", "my-shop", "item..sold"), "is no name of an event"),
        (("event", "my-shop", "item.#"), "is no name of an event"),
        (("event", "my-shop", "my_shop.changed"), "the name on_my_shop_changed is taken"),
        (("event", "other", "item.sold"), "there is no service other"),
    ],
)
def test_what_is_taken_or_invalid_is_refused_in_one_line(shop, add, words, said):
    shop.new(commits=False, speaks=SPEAKS)
    before = shop.tree()
    [line] = add(*words, code=2)
    assert said in line
    assert shop.tree() == before


def test_a_path_is_taken_whatever_its_names_are(shop, add):
    add("rpc", "my-shop", "GetItem", "--get", "/v1/items/{id}")
    [line] = add("rpc", "my-shop", "FindItem", "--get", "/v1/items/{name}", code=2)
    assert line == "GET /v1/items/{id} is taken in my_shop.proto"


@pytest.mark.parametrize(
    ("speaks", "words", "said"),
    [
        (("http",), ("rpc", "my-shop", "GetItem"), "does not speak grpc"),
        (("grpc",), ("rpc", "my-shop", "GetItem", "--get", "/a"), "does not speak http"),
        (("http",), ("event", "my-shop", "item.sold"), "does not speak events"),
    ],
)
def test_what_a_project_does_not_speak_is_not_added(shop, add, speaks, words, said):
    shop.new(commits=False, speaks=speaks)
    [line] = add(*words, code=2)
    assert said in line
    assert f'add "{said.split()[-1]}" to speaks in .prodkit.toml' in line


def test_a_service_with_a_contract_says_that_it_is_to_be_compiled(shop, add):
    fill(shop.root, {"service/grpc/src/__package__/__service__.proto": PROTO})
    assert add("service", "stock", "--dry-run")[-1].endswith("nothing is written")
    assert add("service", "stock")[-1] == "next: make proto test"


@pytest.mark.parametrize(
    ("path", "content", "words", "said"),
    [
        (SERVICER_FILE, "class (:\n", ("rpc", "my-shop", "GetItem"), "has no contract with a"),
        (SERVICER_FILE, "import a\n", ("rpc", "my-shop", "GetItem"), "has no contract with a"),
        (PROTO_FILE, PROTO[:-2], ("rpc", "my-shop", "GetItem"), "has no contract with a"),
        (PROTO_FILE, PROTO.encode() + b"//\xff", ("rpc", "my-shop", "Get"), "has no contract"),
        (
            PROTO_FILE,
            "<<<<<<< yours\n=======\n>>>>>>> prodkit\n" + PROTO,
            ("rpc", "my-shop", "GetItem"),
            "marks of a conflict stand in it",
        ),
        (
            "src/my_shop/my_shop/service.py",
            "handlers = {}\n",
            ("event", "my-shop", "item.sold"),
            "must have one table of its events",
        ),
        (
            "src/my_shop/my_shop/on_item_sold.py",
            "mine\n",
            ("event", "my-shop", "item.sold"),
            "src/my_shop/my_shop/on_item_sold.py is there already",
        ),
        (
            "src/my_shop/my_shop/more.py",
            HANDLERS,
            ("event", "my-shop", "item.sold"),
            "has several: more.py, service.py",
        ),
    ],
)
def test_a_file_that_takes_nothing_is_named_and_left(shop, add, path, content, words, said):
    shop.new(commits=False, speaks=SPEAKS)
    shop.write(path, content)
    before = shop.tree()
    [line] = add(*words, code=2)
    assert said in line
    assert shop.tree() == before


def test_a_file_in_crlf_stays_in_crlf(shop, add):
    shop.new(commits=False, speaks=SPEAKS)
    shop.write(PROTO_FILE, PROTO.replace("\n", "\r\n"))
    add("rpc", "my-shop", "GetItem")
    assert "\n" not in shop.read(PROTO_FILE).replace("\r\n", "")


def test_a_disk_that_is_full_leaves_all_as_it_was(shop, add, monkeypatch):
    shop.new(commits=False, speaks=SPEAKS)
    before = shop.tree()
    real, left = Path.replace, [2]

    def full(self, target):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device", str(target))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    assert "No space left" in add("rpc", "my-shop", "GetItem", code=2)[-1]
    after = {path: text for path, text in shop.tree().items() if "prodkit-new" not in path}
    assert after == before


def test_what_editors_and_pipes_leave_in_a_folder_is_not_read(shop, add):
    shop.new(commits=False, speaks=SPEAKS)
    service, contract = (shop.folder / path for path in (SERVICER_FILE, PROTO_FILE))
    os.mkfifo(service.with_name("waits.py"))
    for each in (service, contract):
        each.with_name(f".#{each.name}").symlink_to("somebody@elsewhere")
    add("rpc", "my-shop", "GetItem")
    add("event", "my-shop", "item.sold")
