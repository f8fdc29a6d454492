"""Where services of other processes are, and which services this process serves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from prodkit.errors import ConfigurationError

#: Services with a database and a place in the mesh.
SERVICES: Final = (
    "users",
    "catalog",
    "orders",
    "payments",
    "notifications",
)
GATEWAY: Final = "gateway"
EVERYTHING: Final = (*SERVICES, GATEWAY)


@dataclass(frozen=True, slots=True)
class Placement:
    """Which services this process serves, in the order of their start."""

    here: tuple[str, ...]

    @property
    def services(self) -> tuple[str, ...]:
        """Those of them that others call."""
        return tuple(name for name in self.here if name != GATEWAY)

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """Services that calls from here need another process for."""
        return tuple(name for name in SERVICES if name not in self.here)


def placed(names: Sequence[str], *, mesh: str, grpc_port: int, peers: Collection[str]) -> Placement:
    """Return what a process that is told to serve `names` serves: all of them if none is named.

    Raises ConfigurationError where its services and the others could not find each other.
    """
    for name in names:
        if name not in EVERYTHING:
            raise ConfigurationError(f"there is no service {name}; known: {', '.join(EVERYTHING)}")
    placement = Placement(tuple(name for name in EVERYTHING if not names or name in names))
    if not placement.elsewhere:
        return placement
    absent = ", ".join(placement.elsewhere)
    if mesh != "grpc":
        raise ConfigurationError(f"mesh: must be grpc where services are elsewhere ({absent})")
    if lost := [name for name in placement.elsewhere if name not in peers]:
        raise ConfigurationError(
            f"peers: does not say where {', '.join(lost)} can be found, not served here either"
        )
    if placement.services and not grpc_port:
        raise ConfigurationError(
            f"grpc_port: must be set, or nobody finds {', '.join(placement.services)} here"
        )
    return placement


def checked(peers: Mapping[str, str]) -> dict[str, str]:
    """Return `peers` if all of them are services with addresses. Raises ValueError."""
    for name, addresses in peers.items():
        if name not in SERVICES:
            raise ValueError(f"there is no service {name}; known: {', '.join(SERVICES)}")
        target(name, addresses)
    return dict(peers)


def target(name: str, addresses: str) -> str:
    """Return what gRPC calls `addresses`: HOST:PORT, or several with IP addresses for hosts.

    One host name may stand for several addresses by itself. Raises ValueError.
    """
    each = [address.strip() for address in addresses.split(",")]
    kinds = {_kind(name, address) for address in each}
    if len(each) == 1 and kinds == {"dns"}:
        return f"dns:///{each[0]}"
    if "dns" in kinds:
        raise ValueError(f"{name}: of several addresses each must be IP:PORT")
    if len(kinds) > 1:
        raise ValueError(f"{name}: IPv4 and IPv6 cannot be mixed")
    return f"{kinds.pop()}:{','.join(each)}"


def _kind(name: str, address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{name}: {address!r} is not HOST:PORT")
    try:
        return f"ipv{ip_address(host.strip('[]')).version}"
    except ValueError:
        return "dns"
