"""What holds for every command."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import prodkit
from prodkit.cli import app
from prodkit.cli.commands import Commands
from prodkit.errors import ConfigurationError


def run(*words, **options):
    return CliRunner().invoke(app, list(words), **options)


def test_the_version_is_told():
    assert run("--version").output == f"prodkit {prodkit.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nwe",), "No such command 'nwe'. Did you mean 'new'?; see prodkit --help"),
        (("new",), "Missing argument 'NAME'; see prodkit new --help"),
        (("new", "a", "--defualts"), "No such option: --defualts (Possible options: --defaults"),
        (("dlq", "list"), "Missing argument 'queue'; see prodkit dlq list --help"),
        (("dlq", "drop", "q", "x"), "Invalid value for 'tag': "),
        (("saga", "show", "x", "-d", "nowhere"), "the database must be a postgresql:// URL"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(words, said):
    done = run(*words, prog_name="prodkit")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [(), ("dlq",), ("saga",)])
def test_without_a_command_the_commands_are_shown(words):
    done = run(*words)
    assert done.exit_code == 2
    assert "Commands" in done.output


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigurationError("a\x1b[31m is no b"), 2, "a\\x1b[31m is no b\n"),
        (PermissionError(13, "Permission denied", "/x"), 2, "[Errno 13] Permission denied: '/x'\n"),
        (typer.Abort(), 2, "stopped\n"),
        (typer.Exit(1), 1, ""),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_a_command_raises_is_told_without_a_traceback(error, code, said):
    other = typer.Typer(cls=Commands, pretty_exceptions_enable=False)

    @other.command()
    def fails() -> None:
        raise error

    other.callback()(lambda: None)
    done = CliRunner().invoke(other, ["fails"])
    assert (done.exit_code, done.stderr) == (code, said)


def test_a_fault_of_ours_keeps_its_traceback():
    other = typer.Typer(cls=Commands, pretty_exceptions_enable=False)

    @other.command()
    def fails() -> None:
        raise ZeroDivisionError

    other.callback()(lambda: None)
    assert isinstance(CliRunner().invoke(other, ["fails"]).exception, ZeroDivisionError)


def process(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "prodkit.cli", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("variables", "colored"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_is_respected(variables, colored):
    plain = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "80", **variables}
    without = dict.fromkeys({"NO_COLOR"} - plain.keys(), "")
    done = process("--help", **{**plain, **without})
    assert "new" in done.stdout
    assert bool(re.search(r"\x1b\[[\d;]*3\d", done.stdout)) is colored


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_are_told_how_to_complete(shell):
    done = process("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0
    assert "_COMPLETE=complete_" in done.stdout


def test_commands_and_choices_are_completed(monkeypatch):
    completed = {"new ": "", "new a --state ": "", "n": ""}
    for line in completed:
        words = {
            "_PRODKIT_COMPLETE": "complete_bash",
            "COMP_WORDS": f"prodkit {line}",
            "COMP_CWORD": str(len(line.split(" "))),
        }
        with monkeypatch.context() as patch:
            for name, value in words.items():
                patch.setenv(name, value)
            done = CliRunner().invoke(app, [], prog_name="prodkit")
        completed[line] = done.output
    assert completed["n"].split() == ["new"]
    assert completed["new a --state "].split() == ["sqlite", "none", "postgres"]


def test_a_command_starts_without_what_others_need():
    """Rich, Jinja and the SQL stack are loaded by those who use them."""
    code = (
        "import sys, prodkit.cli\n"
        "heavy = {'rich', 'jinja2', 'sqlalchemy', 'grpc', 'pydantic', 'starlette', 'structlog'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
