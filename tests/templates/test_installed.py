"""Projects really installed: a wheel, a fresh environment, `make test` and `make demo`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from skeleton import ROOT, free_ports, own_environment, run

from prodkit.scaffold import tree
from prodkit.scaffold.answers import Answers
from prodkit.scaffold.render import render

PROJECTS = {
    "http": {},
    "events": {"speaks": ("events",), "state": "none"},
    "all": {
        "speaks": ("http", "grpc", "events"),
        "state": "postgres",
        "limiter": "redis",
        "broker": "rabbitmq",
        "deploy": True,
    },
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=ROOT)
    return next(folder.glob("*.whl"))


@pytest.mark.parametrize("options", PROJECTS.values(), ids=PROJECTS)
def test_a_fresh_environment_is_all_that_a_project_needs(options, wheel, tmp_path):
    folder = tmp_path / "my-shop"
    tree.write(render(Answers(name="my-shop", prodkit=wheel.as_uri(), **options)), folder)
    make = ("make", f"PYTHON={sys.executable}")
    assert "passed" in run(*make, "test", folder=folder, environment=own_environment())
    names = ("PORT", "ADMIN_PORT", "GRPC_PORT") if "grpc" in options.get("speaks", ()) else ()
    names = names or (("ADMIN_PORT",) if "speaks" in options else ("PORT", "ADMIN_PORT"))
    ports = {f"MY_SHOP_{name}": str(port) for name, port in free_ports(*names).items()}
    demo = subprocess.Popen(
        [*make, "demo"], cwd=folder, env={**own_environment(), **ports}, start_new_session=True
    )
    try:
        await_ready(demo, int(ports["MY_SHOP_ADMIN_PORT"]))
        os.killpg(demo.pid, signal.SIGTERM)
        demo.wait(60)
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
            demo.wait()


def await_ready(demo: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + 60.0
    while True:
        assert demo.poll() is None, "make demo ended"
        assert time.monotonic() < end, "make demo is not ready"
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.2)
