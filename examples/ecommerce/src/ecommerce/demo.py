"""`ecommerce demo`: the shop in this process, the outside world in a child, and how to use both."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from prodkit.service.settings import load_settings

from ecommerce.settings import ShopSettings
from ecommerce.users.demo import ACCOUNTS, PASSWORD

#: Seconds that the sandbox may take to end.
STOP_TIMEOUT = 10.0


def run(config: Path) -> int:
    """Run shop and sandbox until the shop is told to stop; return the shop's exit code."""
    os.environ.setdefault("SHOP_ENVIRONMENT", "demo")
    settings = load_settings(ShopSettings, config_dir=config)
    if settings.environment != "demo":
        print(f"demo: SHOP_ENVIRONMENT is {settings.environment}; it must be demo", file=sys.stderr)
        return 2
    outside = _start_sandbox(config)
    try:
        from ecommerce.platform import build

        build(settings, Announcement(lambda: _explain(settings))).run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        _stop(outside)
    return 0


def _start_sandbox(config: Path) -> subprocess.Popen[bytes]:
    """Start the child. It ends when the pipe to it closes: at the latest when this process dies.

    It leads a session of its own, so that Ctrl-C reaches the shop first: what the shop still has
    to pay for while it drains finds the provider there.
    """
    command = [sys.executable, "-m", "ecommerce.cli", "sandbox", "--config", str(config), "--tied"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603


def _stop(outside: subprocess.Popen[bytes]) -> None:
    if outside.stdin is not None:
        outside.stdin.close()
    try:
        outside.wait(timeout=STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        outside.kill()
        outside.wait()


def _explain(settings: ShopSettings) -> None:
    guide = Path(__file__).with_suffix(".txt").read_text("utf-8")
    words = {
        "@url@": f"http://localhost:{settings.port}",
        "@accounts@": ", ".join(ACCOUNTS),
        "@password@": PASSWORD,
        "@folder@": str(settings.data_dir.resolve()),
    }
    for mark, word in words.items():
        guide = guide.replace(mark, word)
    print(guide, file=sys.stderr, flush=True)


class Announcement:
    """Says that the shop is open, as the last of the parts to start."""

    name = "announcement"
    edge = True

    def __init__(self, announce: Callable[[], None]) -> None:
        self._announce = announce

    async def start(self) -> None:
        """Say it."""
        self._announce()

    async def stop(self, grace: float) -> None:
        """Say nothing more."""
