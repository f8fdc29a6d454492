"""What the services of one process share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry.sdk.trace import SpanProcessor
from prodkit.security.authorization import Roles
from prodkit.security.keys import KeySet
from prodkit.security.tokens import TokenVerifier
from prodkit.telemetry import LineSink, Telemetry
from prodkit.transports.broker import Broker
from prometheus_client import CollectorRegistry

from ecommerce.gauges import Gauges
from ecommerce.mesh import Mesh
from ecommerce.settings import ShopSettings

AUDIENCE: Final = "shop"
SERVICES: Final = ("users", "catalog", "orders", "payments", "notifications")

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
    """What the services of one process share: broker, mesh, registry, keys."""

    def __init__(
        self,
        settings: ShopSettings,
        *,
        broker: Broker,
        log: LineSink,
        span_processors: Sequence[SpanProcessor] = (),
    ) -> None:
        self.settings = settings
        self.broker = broker
        self.log = log
        self.span_processors = span_processors
        self.registry = CollectorRegistry()
        self.gauges = Gauges(self.registry)
        self.mesh = Mesh(settings.mesh)
        self._keys: dict[str, KeySet] = {}

    def keys(self, issuer: str) -> KeySet:
        """Return the key set of an issuer: `users` for people, else a service for itself."""
        if issuer not in self._keys:
            path = self.settings.data_dir / "keys" / f"{issuer}.json"
            self._keys[issuer] = KeySet.open(path)
        return self._keys[issuer]

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
            availability=_AVAILABILITY[service],
        )
