"""compose.yaml says what the shop understands; Docker itself is not asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prodkit.service.platform import _STUCK
from prodkit.service.settings import read_settings

from ecommerce.peers import EVERYTHING, SERVICES, placed
from ecommerce.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)["services"]
OURS = {name: service for name, service in COMPOSE.items() if service["image"] == "shop"}


@pytest.fixture(params=OURS)
def told(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the environment of one of our containers; return its name."""
    for name, value in OURS[request.param]["environment"].items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:\?\}", "a-word", value))
    return request.param


def test_every_process_starts_with_what_it_is_told(told: str) -> None:
    settings = read_settings(Settings, config_dir=ROOT / "config")
    assert settings.environment == "production"
    command, *services = OURS[told]["command"]
    assert command in {"serve", "sandbox", "migrate", "audit"}
    assert services == ([told] if command == "serve" else [])
    placed(services, mesh=settings.mesh, grpc_port=settings.grpc_port, peers=settings.peers)
    assert settings.host == "0.0.0.0"
    patience = settings.drain_delay + settings.drain_timeout + _STUCK
    assert float(OURS[told]["stop_grace_period"].removesuffix("s")) > patience
    assert settings.webhook_url.startswith("http://nginx" if command == "sandbox" else "http://")


def test_all_services_are_there_and_waited_for() -> None:
    assert set(EVERYTHING) <= OURS.keys()
    assert set(SERVICES) <= OURS["gateway"]["depends_on"].keys()
    databases = re.findall(
        r"^CREATE DATABASE (\w+);$", (ROOT / "deploy/databases.sql").read_text(), re.MULTILINE
    )
    assert databases == [f"shop_{service}" for service in SERVICES]
    for service in COMPOSE.values():
        for needed, how in service.get("depends_on", {}).items():
            check = COMPOSE[needed]["healthcheck"]
            assert how["condition"] != "service_healthy" or "test" in check


def test_every_secret_is_asked_for_by_name() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?\}", TEXT))
    example = (ROOT / "compose.env.example").read_text()
    assert asked == set(re.findall(r"^(\w+)=$", example, re.MULTILINE))


def test_only_loopback_is_published() -> None:
    ports = [port for service in COMPOSE.values() for port in service.get("ports", ())]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
