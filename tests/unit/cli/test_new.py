from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "scaffold"))
from planting import PLATFORM, plant

from prodkit.cli import app
from prodkit.scaffold import blueprint
from prodkit.scaffold.answers import Answers
from prodkit.scaffold.record import RECORD


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, small templates, and nobody's git configuration."""
    root = plant(tmp_path / "templates", PLATFORM)
    monkeypatch.setattr(blueprint, "templates", lambda: root)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def new(*words, answers=""):
    return CliRunner().invoke(app, ["new", *words], input=answers, prog_name="prodkit")


def recorded(folder):
    return Answers.from_toml((folder / RECORD).read_text())


def refused(folder, *words, answers=""):
    done = new(*words, answers=answers)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert os.listdir(folder) == []
    [line] = done.stderr.splitlines()
    return line


def test_defaults_ask_nothing(folder):
    done = new("my-shop", "--defaults")
    assert done.exit_code == 0
    assert done.stderr == ""
    assert done.stdout == "my-shop: 6 files in my-shop\nnext: cd my-shop && make demo\n"
    assert recorded(folder / "my-shop") == Answers(name="my-shop")
    assert (folder / "my-shop/src/my_shop/my_shop/web.py").read_text() == "MyShop\n"


def test_options_are_answers(folder):
    options = "--speaks events,http --state postgres --limiter redis --broker rabbitmq --deploy"
    assert new("shop", *options.split()).stderr == ""
    assert recorded(folder / "shop") == Answers(
        name="shop",
        speaks=("http", "events"),
        state="postgres",
        limiter="redis",
        broker="rabbitmq",
        deploy=True,
    )


def test_what_no_option_says_is_asked(folder):
    done = new("shop", "--limiter", "redis", answers="grpc, events\n\nrabbitmq\ny\n")
    assert done.exit_code == 0
    assert recorded(folder / "shop") == Answers(
        name="shop", speaks=("grpc", "events"), limiter="redis", broker="rabbitmq", deploy=True
    )
    assert done.stdout.startswith(
        "What does the service speak, one or several (http, grpc, events) [http]: grpc, events\n"
        "Where does it keep what it must not forget (sqlite, none, postgres) [sqlite]: \n"
        "What carries its events (memory, rabbitmq) [memory]: rabbitmq\n"
        "With files to deploy it [y/N]: y\n"
    )


def test_a_wrong_answer_is_told_and_asked_again(folder):
    done = new("shop", "--no-deploy", "--limiter=memory", answers="soap\nhttp\nmysql\nnone\n")
    assert done.exit_code == 0
    assert "Error: speaks is one or more of http, grpc, events, not 'soap'" in done.stdout
    assert "Error: state is sqlite or none or postgres, not 'mysql'" in done.stdout
    assert recorded(folder / "shop").state == "none"


def test_nobody_is_asked_for_a_broker_without_events():
    assert "carries" not in new("shop", answers="\n\n\n\n").stdout


def test_the_end_of_the_input_says_what_to_do(folder):
    done = new("shop", answers="http\n")
    assert done.exit_code == 2
    assert done.stderr == (
        "the input ended before the last question: use --defaults, or the options\n"
    )
    assert os.listdir(folder) == []


def test_a_platform_asks_nothing_and_leaves_no_choice(folder):
    assert new("shop", "--template", "ecommerce").exit_code == 0
    assert (folder / "shop/src/shop/users/accounts.py").exists()
    for words in (("--state", "sqlite"), ("--speaks", "http"), ("--deploy",)):
        done = new("other", "-t", "ecommerce", *words)
        assert done.exit_code == 2
        assert done.stderr == (
            f"template ecommerce leaves no choice of {words[0]}: leave that out\n"
        )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("My_Shop",), "; my-shop would do"),
        (("redis",), "'redis' cannot be the name of a project: it is a package that projects"),
        (("tests",), "it is kept for the project's own folders; take another, as tests-app"),
        (("a", "--template", "shop"), "template is service or ecommerce, not 'shop'"),
        (("a", "--speaks", "soap"), "speaks is one or more of http, grpc, events, not 'soap'"),
        (("a", "--speaks", ""), "speaks is one or more of http, grpc, events, not ''"),
        (("a", "--state", "mysql"), "state is sqlite or none or postgres, not 'mysql'"),
        (("a", "--limiter", "x"), "limiter is memory or redis, not 'x'"),
        (("a", "--broker", "x"), "broker is memory or rabbitmq, not 'x'"),
        (("a", "--broker", "memory", "--defaults"), "--broker carries events: add events to"),
        (("a", "--broker", "rabbitmq", "--speaks", "grpc"), "--broker carries events"),
        (("a", "--prodkit", "nowhere.whl"), "there is no nowhere.whl"),
        (("a", "--colour",), "No such option: --colour; see prodkit new --help"),
        (("a", "b"), "Got unexpected extra argument(s) (b); see prodkit new --help"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_the_first_question(folder, words, said):
    assert said in refused(folder, *words)


def test_a_broker_is_refused_once_it_is_known_that_there_are_no_events(folder):
    done = new("a", "--broker", "rabbitmq", answers="http\n\n\n\n")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].endswith("add events to --speaks, or leave it out")
    assert os.listdir(folder) == []


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_folder_that_holds_something_is_refused(folder, dry):
    (folder / "shop").mkdir()
    (folder / "shop/mine").touch()
    done = new("shop", *dry)
    assert done.exit_code == 2
    assert done.stderr == (
        "shop is not empty: it holds mine; a new project needs a new folder, or an empty one\n"
    )
    assert os.listdir(folder / "shop") == ["mine"]


def test_a_dry_run_shows_the_tree_and_writes_nothing(folder):
    done = new("shop", "--defaults", "--dry-run")
    assert done.output == (
        "shop/\n"
        "├── .prodkit.lock\n"
        "├── .prodkit.toml\n"
        "├── pyproject.toml\n"
        "└── src/\n"
        "    └── shop/\n"
        "        ├── __init__.py\n"
        "        └── shop/\n"
        "            ├── __init__.py\n"
        "            └── web.py\n"
    )
    assert os.listdir(folder) == []


def test_a_terminal_without_lines_gets_a_tree_too():
    words = ["new", "shop", "--defaults", "--dry-run"]
    done = CliRunner(charset="ascii").invoke(app, words)
    assert done.output.splitlines()[-5:] == [
        "    `-- shop/",
        "        |-- __init__.py",
        "        `-- shop/",
        "            |-- __init__.py",
        "            `-- web.py",
    ]


def test_in_the_folder_itself_there_is_nowhere_to_go(folder):
    assert new("shop", "--defaults", "--into", ".").stdout.endswith("\nnext: make demo\n")


def test_the_folder_may_be_another(folder):
    done = new("shop", "--defaults", "--into", "a b/c")
    assert done.stdout.splitlines()[-1] == "next: cd 'a b/c' && make demo"
    assert (folder / "a b/c" / RECORD).exists()


def test_prodkit_may_come_from_elsewhere(folder):
    wheel = folder.parent / "prodkit_services-0.1.0-py3-none-any.whl"
    wheel.touch()
    assert new("shop", "--defaults", "--prodkit", f"../{wheel.name}").exit_code == 0
    asked = f"prodkit-services[http] @ {wheel.as_uri()}"
    assert asked in (folder / "shop/pyproject.toml").read_text()
    assert recorded(folder / "shop").prodkit == wheel.as_uri()


def log(folder):
    command = ["git", "log", "--format=%s"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout.decode()


def test_the_first_commit_is_what_was_generated(folder):
    new("shop", "--defaults")
    assert log(folder / "shop") == "prodkit new shop\n"


def test_who_wants_no_repository_gets_none(folder):
    new("shop", "--defaults", "--no-git")
    assert not (folder / "shop/.git").exists()


def test_in_a_repository_the_commit_is_left_to_its_owner(folder):
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    done = new("shop", "--defaults")
    assert "not committed: it lies in a repository already; `prodkit update`" in done.stdout
    assert not (folder / "shop/.git").exists()


def test_no_network_is_needed(folder, monkeypatch):
    def none(*arguments, **options):
        raise AssertionError("somebody opens a socket")

    monkeypatch.setattr(socket, "socket", none)
    assert new("shop", "--defaults").exit_code == 0


def test_what_git_cannot_do_is_told_and_the_project_stays(folder, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(folder.parent / "broken"))
    (folder.parent / "broken").write_text("[core\n")
    done = new("shop", "--defaults")
    assert done.exit_code == 1
    assert done.stderr.startswith("git init --quiet in shop: fatal: bad config line 1")
    assert (folder / "shop/pyproject.toml").exists()


def test_a_wrong_template_is_told_in_a_line(folder):
    plant(folder.parent / "templates", {"project/base/x.jinja": "{{ nobody }}"})
    assert "x.jinja: 'nobody' is undefined" in refused(folder, "a", "--defaults")


def test_a_project_of_nothing_is_not_written(folder, monkeypatch):
    monkeypatch.setattr(blueprint, "templates", lambda: folder.parent / "none")
    assert refused(folder, "a", "--defaults") == (
        "there are no templates of a service: prodkit is not installed whole"
    )


@pytest.mark.parametrize(
    ("words", "closed", "code", "said"),
    [
        (["new", "shop"], "<&-", 2, "use --defaults, or the options"),
        (["new", "shop", "--defaults", "--dry-run"], ">&-", 0, ""),
        (["check", "src"], ">&-", 0, ""),
    ],
)
def test_a_stream_that_is_closed_ends_no_command(folder, words, closed, code, said):
    (folder / "src").mkdir()
    (folder / "src/a.py").write_text("x = 1\n")
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "prodkit.cli", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert said in done.stderr
