"""Whose calls count together: functions from a call to a key."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from prodkit.call import Call
from prodkit.errors import ConfigurationError, UnauthenticatedError


def by_principal(call: Call) -> str:
    """Key calls by who makes them; authentication must come before the limiter.

    Raises UnauthenticatedError for a caller that stayed unknown: operations that anybody may call
    are keyed by `by_caller` or `by_client`.
    """
    if call.principal is None:
        raise UnauthenticatedError("this operation is limited per principal, and nobody is known")
    return call.principal.subject


def by_client(call: Call) -> str:
    """Key calls by the client's address, which the door leaves in `metadata["client-address"]`.

    The door knows how many proxies in front of it are yours (`PipelineMiddleware(...,
    trusted_proxies=1)`) and believes no other entry of X-Forwarded-For; with the number too low
    all clients share the proxy's address, with it too high each invents its own. An IPv6 client
    owns its whole /64 network, so that is the key. Raises ConfigurationError where the door knows
    of no address.
    """
    address = call.metadata.get("client-address")
    if not address:
        raise ConfigurationError(
            f"by_client: the door {call.transport} gives no client address: put the limiter where "
            "clients come in (PipelineMiddleware, with trusted_proxies=1 behind a proxy that calls "
            "through a Unix socket; @route_pipeline for one route), or give it another key, "
            'key=lambda call: "all" say'
        )
    return _network(address) if ":" in address else address


def by_caller(call: Call) -> str:
    """Key calls by principal where it is known, else by the client's address."""
    if call.principal is not None:
        return f"principal {call.principal.subject}"
    return f"client {by_client(call)}"


@lru_cache(maxsize=4096)
def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((int(parsed) >> 64 << 64, 64)))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
