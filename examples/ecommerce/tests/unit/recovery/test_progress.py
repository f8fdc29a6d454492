"""What an operator sees: moving lines on a terminal, plain ones in a log."""

import io

import pytest

from ecommerce.recovery import progress as module
from ecommerce.recovery.progress import Progress


@pytest.fixture
def at_once(monkeypatch):
    """Every report is shown."""
    monkeypatch.setattr(module, "_OFTEN", 0.0)
    monkeypatch.setattr(module, "_SELDOM", 0.0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def told(stream):
    progress = Progress(stream)
    progress.moved("backup", "orders", 1_000_000, 4_000_000)
    progress.done("backup", "orders", "7 rows")
    progress.say("and that is all")
    return stream.getvalue()


@pytest.mark.usefixtures("at_once")
def test_in_a_log_lines_are_plain():
    assert told(io.StringIO()) == (
        "backup orders: 1.0 MB (25 %)\nbackup orders: done, 7 rows\nand that is all\n"
    )


@pytest.mark.usefixtures("at_once")
def test_on_a_terminal_one_line_moves_and_the_end_is_green(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32mdone" in told(Terminal())
    assert told(Terminal()).count("\n") == 2


def test_no_color_is_honored(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in told(Terminal())


def test_what_takes_no_time_is_told_when_it_is_done():
    assert told(io.StringIO()) == "backup orders: done, 7 rows\nand that is all\n"
