"""`demo`: the shop in this process, the outside world in a child, and how to use both."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
from prodkit.service.settings import load_settings

from . import __name__ as package
from .settings import Settings
from .users.demo import ACCOUNTS, PASSWORD

#: Seconds that the sandbox may take to end.
STOP_TIMEOUT = 10.0
#: The settings that name a port which the demo listens on.
PORTS = ("port", "admin_port", "sandbox_port", "smtp_port")


def run(config: Path) -> int:
    """Run shop and sandbox until the shop is told to stop; return the shop's exit code."""
    os.environ.setdefault("SHOP_ENVIRONMENT", "demo")
    settings = load_settings(Settings, config_dir=config)
    if settings.environment != "demo":
        print(f"demo: SHOP_ENVIRONMENT is {settings.environment}; it must be demo", file=sys.stderr)
        return 2
    if taken := [name for name in PORTS if not _free(getattr(settings, name))]:
        for name in taken:
            port = getattr(settings, name)
            print(f"demo: port {port} is in use; set SHOP_{name.upper()}", file=sys.stderr)
        return 2
    outside = _start_sandbox(config)
    try:
        from .platform import build

        async def answers() -> None:
            shop = f"http://127.0.0.1:{settings.port}/health/ready"
            await _answer(outside, shop, f"{settings.provider_url}/health")

        build(settings, Announcement(answers, lambda: _explain(settings))).run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        _stop(outside)
    return 0


def _free(port: int) -> bool:
    """Say whether the port can be listened on, as the servers will."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _start_sandbox(config: Path) -> subprocess.Popen[bytes]:
    """Start the child. It ends when the pipe to it closes: at the latest when this process dies.

    It leads a session of its own, so that Ctrl-C reaches the shop first: what the shop still has
    to pay for while it drains finds the provider there.
    """
    command = [sys.executable, "-m", f"{package}.cli", "sandbox", "--config", str(config), "--tied"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603


async def _answer(outside: subprocess.Popen[bytes], *urls: str) -> None:
    """Return once all of `urls` answer well; OSError if the child ends instead."""
    async with httpx2.AsyncClient(timeout=1.0) as client:
        for url in urls:
            while not await _answers(client, url):
                if outside.poll() is not None:
                    raise OSError(f"the sandbox ended with code {outside.returncode}")
                await asyncio.sleep(0.05)


async def _answers(client: httpx2.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).is_success
    except httpx2.TransportError:
        return False


def _stop(outside: subprocess.Popen[bytes]) -> None:
    if outside.stdin is not None:
        outside.stdin.close()
    try:
        outside.wait(timeout=STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        outside.kill()
        outside.wait()


def _explain(settings: Settings) -> None:
    print(guide(settings, metrics=f"http://localhost:{settings.port}/metrics"), file=sys.stderr)
    folder = settings.data_dir.resolve()
    end = f"Everything is kept in {folder}. Ctrl-C stops both processes in order."
    print(end, file=sys.stderr, flush=True)


def guide(settings: Settings, *, metrics: str) -> str:
    """Return how to use a shop that is open, with its accounts."""
    text = Path(__file__).with_suffix(".txt").read_text("utf-8")
    words = {
        "@url@": f"http://localhost:{settings.port}",
        "@metrics@": metrics,
        "@accounts@": ", ".join(ACCOUNTS),
        "@password@": PASSWORD,
    }
    for mark, word in words.items():
        text = text.replace(mark, word)
    return text


class Announcement:
    """Says that the shop is open once all of it `answers`; dies of what that raises."""

    name = "announcement"

    def __init__(
        self, answers: Callable[[], Awaitable[None]], announce: Callable[[], None]
    ) -> None:
        self._answers = answers
        self._announce = announce
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to wait: the shop is ready only when all its parts have started, this one too."""
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self, grace: float) -> None:
        """Say nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def wait(self) -> None:
        """Raise what ended it; return when it is stopped."""
        if self._task is not None:
            await asyncio.wait((self._task,))
            if not self._task.cancelled():
                self._task.result()

    async def _run(self) -> None:
        await self._answers()
        self._announce()
        await asyncio.Event().wait()
