"""`demo` as a newcomer meets it, and what the commands say when they cannot start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from harness import ROOT, eventually, free_port

PORTS = ("PORT", "ADMIN_PORT", "SANDBOX_PORT", "SMTP_PORT")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Free ports, a folder and a quick end; nothing else is set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHOP_")}
    ports = {f"SHOP_{name}": str(free_port()) for name in PORTS}
    return kept | ports | {"SHOP_DATA_DIR": str(tmp_path / "var"), "SHOP_DRAIN_DELAY": "0"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ecommerce.cli", *arguments]


def said(env: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Return exit code, output and complaints of a command that ends by itself."""
    done = subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def demo(env: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(command("demo"), cwd=ROOT, env=env, stdout=out, stderr=err)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_guide_comes_when_everything_answers(
    demo: subprocess.Popen[bytes], env: dict[str, str], tmp_path: Path
) -> None:
    guide = tmp_path / "err"
    eventually(lambda: "The shop is open" in guide.read_text(), within=60)
    shop, sandbox = (f"http://127.0.0.1:{env[f'SHOP_{n}']}" for n in ("PORT", "SANDBOX_PORT"))
    assert httpx2.get(f"{shop}/health/ready").status_code == 200
    assert httpx2.get(f"{sandbox}/health").status_code == 200
    assert f"localhost:{env['SHOP_PORT']}/api/docs" in guide.read_text()
    assert "demo-password" in guide.read_text()

    demo.send_signal(signal.SIGINT)
    assert demo.wait(40) == 0
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{sandbox}/health")  # the outside world has ended with it
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert {"shop", "sandbox"} <= {line["service"] for line in lines}


def test_ports_in_use_are_named(env: dict[str, str]) -> None:
    ports = {name: env[f"SHOP_{name}"] for name in PORTS}
    with ExitStack() as stack:
        for port in ports.values():
            taken = stack.enter_context(socket.socket())
            taken.bind(("127.0.0.1", int(port)))
            taken.listen()
        code, out, err = said(env, "demo")
    lines = [f"demo: port {port} is in use; set SHOP_{name}" for name, port in ports.items()]
    assert (code, out, err.splitlines()) == (2, "", lines)


def test_serving_on_a_port_in_use_says_so_without_a_stack(env: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(env["SHOP_SANDBOX_PORT"])))
        taken.listen()
        code, out, err = said(env, "sandbox")
    failed = [line for line in map(json.loads, out.splitlines()) if line["level"] == "error"]
    assert (code, err, len(failed)) == (1, "", 1)
    assert (failed[0]["event"], failed[0]["component"]) == ("start failed", "http")
    assert "address already in use" in failed[0]["error"]
    assert "exception" not in failed[0]


def test_production_does_not_start_without_secrets(env: dict[str, str]) -> None:
    code, out, err = said(env | {"SHOP_ENVIRONMENT": "production"}, "serve")
    assert (code, out) == (2, "")
    assert "SHOP_WEBHOOK_SECRET" in err
    assert "SHOP_IDEMPOTENCY_SECRET" in err
    assert "Traceback" not in err


def test_the_demo_stays_the_demo(env: dict[str, str]) -> None:
    code, _, err = said(env | {"SHOP_ENVIRONMENT": "development"}, "demo")
    assert code == 2
    assert "must be demo" in err
    code, _, err = said(env | {"SHOP_HOST": "0.0.0.0"}, "demo")
    assert code == 2
    assert "known passwords" in err


def test_a_setting_that_is_wrong_is_named(env: dict[str, str]) -> None:
    code, _, err = said(env | {"SHOP_MESH": "pigeon", "SHOP_PORT": "many"}, "demo")
    assert code == 2
    assert "SHOP_MESH" in err
    assert "SHOP_PORT" in err
    code, _, err = said(env | {"SHOP_ADMIN_HOST": "0.0.0.0"}, "serve")
    assert (code, err) == (
        2,
        "cannot start: admin: 0.0.0.0 is not loopback, so a token is needed\n",
    )
