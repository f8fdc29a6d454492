"""What the how-to pages say beside their code."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parent))
from blocks import DOCS, blocks_of

from prodkit.service.settings import ServiceSettings

PAGE = DOCS / "how-to/drain-under-kubernetes.md"


def pod() -> dict[str, object]:
    [block] = [block for block in blocks_of(PAGE) if block.language == "yaml"]
    return yaml.safe_load(block.text)["spec"]["template"]["spec"]


def test_a_pod_has_the_time_that_its_drain_may_take():
    [container] = pod()["containers"]
    given = {
        each["name"].removeprefix("STOCK_").lower(): each["value"] for each in container["env"]
    }
    settings = ServiceSettings(**given)
    needed = settings.drain_delay + settings.drain_timeout + 1
    assert needed < pod()["terminationGracePeriodSeconds"]
    notices = container["readinessProbe"]["periodSeconds"]
    assert notices * container["readinessProbe"]["failureThreshold"] < settings.drain_delay


def test_the_defaults_are_those_of_the_settings():
    text = PAGE.read_text()
    defaults = ServiceSettings()
    assert f"`drain_delay` ({defaults.drain_delay:g} s)" in text
    assert f"`drain_timeout` ({defaults.drain_timeout:g} s)" in text
