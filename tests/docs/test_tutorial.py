"""A newcomer follows the tutorial from its first line to its last, in an empty folder."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from blocks import TUTORIAL, Block, blocks_of, shows

from prodkit.testing.servers import free_port

PATIENCE = 60.0  # seconds; a busy machine is slow, not wrong
KEYS = {"^C": signal.SIGINT, "^\\": signal.SIGQUIT}
#: What makes the reader's environment; the tests have one.
SET_UP = ("mkdir ", "cd ", "python -m venv ", ". .venv/", "pip install ")


class Terminal:
    """A terminal of the reader's: at most one program runs in it."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.log = reader.folder / f".terminal{len(reader.terminals)}.log"
        self.program: subprocess.Popen[bytes] | None = None
        self.exit_code = 0
        self.wanted = ""

    def start(self, command: str, wanted: str) -> None:
        self.wait()
        with self.log.open("wb") as out:
            self.program = subprocess.Popen(
                ["bash", "-c", f"exec env {command}"],
                cwd=self.reader.folder,
                env=self.reader.environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wanted = wanted

    def wait(self) -> None:
        """Wait until the program in it has ended, and look at what it said."""
        if self.program is None:
            return
        self.exit_code = self.program.wait(PATIENCE)
        self.program = None
        printed = self.reader.shown(self.log.read_text())
        assert shows(f"{self.wanted}...", printed), (
            f"{self.wanted}\nis not how this begins:\n{printed}"
        )

    def press(self, number: signal.Signals) -> None:
        assert self.program is not None, "nothing runs here"
        self.program.send_signal(number)
        self.wait()


class Reader:
    """Does what the pages say: writes the files, types the commands, compares."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.terminals: dict[str, Terminal] = {}
        self.ports = {8080: free_port(), 8081: free_port(), 9090: free_port()}
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": "",
            "STOCK_PORT": str(self.ports[8080]),
            "STOCK_ADMIN_PORT": str(self.ports[9090]),
            "STOCK_PRICES_URL": f"http://localhost:{self.ports[8081]}",
            "STOCK_DRAIN_DELAY": "0",
        }

    def with_ports(self, text: str) -> str:
        for port, taken in self.ports.items():
            text = re.sub(rf"(localhost:|port=){port}\b", rf"\g<1>{taken}", text)
        return text

    def shown(self, printed: str) -> str:
        for port, taken in self.ports.items():
            printed = printed.replace(str(taken), str(port))
        return printed

    def read(self, block: Block) -> None:
        if block.language == "python":
            (self.folder / block.title).write_text(self.with_ports(block.text))
        elif block.language == "console":
            terminal = self.terminals.setdefault(block.title, Terminal(self))
            for command, wanted in re.findall(
                r"^(\$ .+|\^.)\n((?:(?!\$ |\^.\n).*\n)*)", block.text, re.MULTILINE
            ):
                self.type(terminal, command.removeprefix("$ "), wanted)

    def type(self, terminal: Terminal, command: str, wanted: str) -> None:
        if command in KEYS:
            terminal.press(KEYS[command])
        elif command == "echo $?":
            terminal.wait()
            assert f"{terminal.exit_code}\n" == wanted
        elif re.search(r"\bpython \w+\.py$", command):
            terminal.start(command, wanted)
            self.settle(terminal, 8081 if command.endswith("prices.py") else 8080)
        elif not command.startswith(SET_UP):
            self.run(command, wanted)

    def settle(self, terminal: Terminal, port: int) -> None:
        """Wait until the program accepts connections, or has ended."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and terminal.program and terminal.program.poll() is None:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.ports[port]), timeout=5),
            ):
                return
            time.sleep(0.05)
        terminal.wait()
        assert terminal.wanted, "it ended by itself, which the page does not show"

    def run(self, command: str, wanted: str) -> None:
        """Type a command; what only looks is looked at again, as people do."""
        end = time.monotonic() + PATIENCE
        while True:
            done = subprocess.run(
                ["bash", "-c", self.with_ports(command)],
                check=False,
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
            printed = self.shown(done.stdout)
            if shows(wanted, printed):
                return
            changes = "-X POST" in command or "for i in" in command
            patience = 0.0 if changes else end - time.monotonic()
            assert patience > 0, f"{command}\n{printed}{done.stderr}"
            time.sleep(0.1)

    def said(self) -> str:
        """Return what runs, and what it said, for whoever looks into a failure."""
        told = ((title, each.program, each.log) for title, each in self.terminals.items())
        return "\n".join(f"{t}: {p}\n{log.read_text()}" for t, p, log in told if log.exists())

    def leave(self) -> None:
        for terminal in self.terminals.values():
            if terminal.program is not None:
                terminal.program.kill()
                terminal.program.wait()


@pytest.fixture
def keyboard() -> Iterator[None]:
    """Let keys work as they do for a reader: what a shell's `&` begins is told to ignore them."""
    ignored = [number for number in KEYS.values() if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("keyboard")
def test_each_step_works_as_it_stands(tmp_path):
    assert len(TUTORIAL) == 6
    reader = Reader(tmp_path)
    try:
        for page in TUTORIAL:
            for block in blocks_of(page):
                assert not block.why_not, "a tutorial has no gaps"
                try:
                    reader.read(block)
                except AssertionError as error:
                    error.add_note(f"at {block}; {reader.said()}")
                    raise
    finally:
        reader.leave()
