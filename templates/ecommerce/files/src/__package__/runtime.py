"""What the services of one process share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from opentelemetry.sdk.trace import SpanProcessor
from prodkit.errors import ConfigurationError
from prodkit.security.authorization import Roles
from prodkit.security.keys import KeySet
from prodkit.security.tokens import TokenVerifier
from prodkit.telemetry import LineSink, Telemetry
from prometheus_client import CollectorRegistry

from .engines import Engines
from .gauges import Gauges
from .mesh import Mesh
from .peers import SERVICES, Placement
from .settings import Settings

AUDIENCE: Final = "shop"

#: What dashboards call the services.
_AVAILABILITY: Final = {
    "gateway": "api-gateway",
    "users": "user-service",
    "catalog": "product-service",
    "orders": "order-service",
    "payments": "payment-service",
    "notifications": "notification-service",
}

_STAFF: Final = frozenset(
    {"catalog:write", "orders:fulfil", "orders:read_all", "payments:refund", "users:read"}
)
ROLES: Final = Roles(
    {"customer": set(), "staff": _STAFF, "admin": _STAFF | {"users:write", "keys:write"}}
)


class Runtime:
    """What the services of one process share: engines, mesh, registry, keys."""

    def __init__(
        self,
        settings: Settings,
        placement: Placement,
        *,
        log: LineSink,
        span_processors: Sequence[SpanProcessor] = (),
    ) -> None:
        self.settings = settings
        self.placement = placement
        self.engines = Engines(settings, placement.services)
        self.log = log
        self.span_processors = span_processors
        self.registry = CollectorRegistry()
        self.gauges = Gauges(self.registry)
        self.mesh = Mesh(
            settings.mesh,
            here=placement.services,
            peers=settings.peers,
            host=settings.grpc_host,
            port=settings.grpc_port,
        )
        self._keys: dict[str, KeySet] = {}

    def keys(self, issuer: str) -> KeySet:
        """Return the key set of an issuer: `users` for people, else a service for itself."""
        if issuer not in self._keys:
            self._keys[issuer] = _opened(self.settings.keys_path / f"{issuer}.json")
        return self._keys[issuer]

    async def reload_keys(self) -> None:
        """Read the key sets again: another process may have rotated one."""
        for keys in self._keys.values():
            await asyncio.to_thread(keys.reload)

    def verifier(self) -> TokenVerifier:
        """Return what every service verifies its callers' tokens with, itself."""
        issuers = {f"service:{name}": self.keys(name) for name in (*SERVICES, "gateway")}
        return TokenVerifier(
            {**issuers, "users": self.keys("users-accounts")}, audience=AUDIENCE, roles=ROLES
        )

    def telemetry(self, service: str) -> Telemetry:
        """Return the telemetry of one service."""
        return Telemetry(
            service,
            registry=self.registry,
            span_processors=self.span_processors,
            sample_ratio=self.settings.sample_ratio,
            log=self.log,
            log_level=self.settings.log_level,
            availability=_AVAILABILITY.get(service, f"{service}-service"),
        )


def _opened(path: Path) -> KeySet:
    try:
        return KeySet.open(path)
    except OSError as error:
        raise ConfigurationError(f"keys_dir: {error}") from error
