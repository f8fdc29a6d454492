"""What supervisord is told to keep alive, and in which order it starts and ends."""

from __future__ import annotations

from pathlib import Path

from ..settings import Settings
from . import nginx
from .places import Plan
from .supervision import Program
from .variables import SHARED, Variables


def groups(
    settings: Settings, config: Path, variables: Variables, what: Plan, balancer: Path
) -> dict[str, list[Program]]:
    """Return what is kept alive; the outside world starts first and ends last."""
    patience = int(settings.drain_delay + settings.drain_timeout) + 5

    def program(name: str, own: str, *words: str) -> Program:
        command = variables.tied(own, *words, "--config", str(config))
        return Program(name, command, patience=patience)

    served = [(place, program(place.name, place.name, *place.command)) for place in what.places]
    proxy = ["setpriv", "--pdeathsig", "QUIT", nginx.binary() or "nginx", "-c", str(balancer)]
    return {
        "outside": [program("sandbox", SHARED, "sandbox")],
        "services": [each for place, each in served if place.service != "gateway"],
        "gateways": [each for place, each in served if place.service == "gateway"],
        "edge": [Program("nginx", [*proxy, "-e", "stderr"], stop="QUIT", patience=10)],
    }
