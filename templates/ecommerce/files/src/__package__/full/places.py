"""What runs where: every process of the shop, its ports, and the settings that are its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ..peers import EVERYTHING
from .ports import free_ports

#: How many processes there are of a service; the others have one.
REPLICAS = {"orders": 2, "gateway": 2}


@dataclass(frozen=True)
class Place:
    """One process of the shop: the shop's `command` with `settings` beyond what all share."""

    name: str
    service: str
    command: tuple[str, ...]
    ports: Mapping[str, int]

    @property
    def settings(self) -> dict[str, str]:
        """The `SHOP_...` variables that no other process has so."""
        return {f"SHOP_{name.upper()}": str(port) for name, port in self.ports.items()}

    @property
    def url(self) -> str:
        """Where others find it."""
        kind = "http" if "port" in self.ports else "grpc"
        return f"{kind}://127.0.0.1:{self.ports.get('port') or self.ports['grpc_port']}"

    @property
    def ready_url(self) -> str:
        """What answers 200 once it is ready."""
        return f"http://127.0.0.1:{self.ports['admin_port']}/health/ready"

    @property
    def metrics_url(self) -> str:
        """Where its own metrics are."""
        return f"http://127.0.0.1:{self.ports['admin_port']}/metrics"


@dataclass(frozen=True)
class Plan:
    """All places, and the ports of the outside world."""

    places: tuple[Place, ...]
    sandbox_port: int
    smtp_port: int

    def of(self, service: str) -> list[Place]:
        """Return the processes of one service."""
        return [place for place in self.places if place.service == service]

    @property
    def peers(self) -> str:
        """`SHOP_PEERS`: where the services of other processes are."""
        found: dict[str, list[str]] = {}
        for place in self.places:
            if "grpc_port" in place.ports:
                address = f"127.0.0.1:{place.ports['grpc_port']}"
                found.setdefault(place.service, []).append(address)
        return json.dumps({service: ",".join(all_of) for service, all_of in found.items()})


def plan() -> Plan:
    """Give every process its ports, all of them free at the moment."""
    names = [
        (service, f"{service}-{number}" if REPLICAS.get(service, 1) > 1 else service)
        for service in EVERYTHING
        for number in range(1, REPLICAS.get(service, 1) + 1)
    ]
    sandbox, smtp, *ports = free_ports(2 + 2 * len(names))
    places = (
        Place(name, service, ("serve", service), {_door(service): door, "admin_port": admin})
        for (service, name), door, admin in zip(names, ports[::2], ports[1::2], strict=True)
    )
    return Plan(tuple(places), sandbox, smtp)


def _door(service: str) -> str:
    return "port" if service == "gateway" else "grpc_port"
