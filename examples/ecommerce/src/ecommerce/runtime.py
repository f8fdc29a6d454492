"""What the process gives to its services, and what a service is put together from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from types import ModuleType
from typing import Final

from opentelemetry.sdk.trace import SpanProcessor
from prodkit.contract import Contract
from prodkit.data import saga_store
from prodkit.data.database import Database
from prodkit.data.saga import Saga
from prodkit.data.saga_runner import SagaRunner
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.messaging import inbox as inbox_tables
from prodkit.messaging import outbox as outbox_tables
from prodkit.messaging import outbox_leases
from prodkit.messaging.consumer import Consumer, Handler
from prodkit.messaging.event import Event
from prodkit.messaging.housekeeping import Housekeeping
from prodkit.messaging.inbox import Inbox
from prodkit.messaging.outbox import Outbox
from prodkit.messaging.relay import OutboxRelay
from prodkit.pipeline import Middleware, Pipeline
from prodkit.security.authorization import Roles
from prodkit.security.credentials import ServiceCredentials, forward_caller
from prodkit.security.keys import KeySet
from prodkit.security.revocations import RevocationList, Revoked
from prodkit.security.tokens import TokenVerifier
from prodkit.service.component import Component
from prodkit.service.contract_pipelines import ContractPipelines
from prodkit.service.health import Check
from prodkit.service.service import Service
from prodkit.service.workers import Worker
from prodkit.stores import sql as idempotency_tables
from prodkit.stores.sql import SqlIdempotencyStore
from prodkit.telemetry import LineSink, Observe, Telemetry, inject
from prodkit.transports.broker import Broker
from prodkit.transports.rpc import MethodInfo
from prodkit.transports.rpc_client import RpcChannel
from prodkit.transports.rpc_server import Registration
from prometheus_client import CollectorRegistry
from sqlalchemy import MetaData

from ecommerce.contract.users.v1.users_pb2 import ListRevocationsRequest
from ecommerce.contract.users.v1.users_pb2_grpc import AuthServiceStub
from ecommerce.mesh import Mesh
from ecommerce.settings import ShopSettings

AUDIENCE: Final = "shop"
SERVICES: Final = ("users", "catalog", "orders", "payments", "notifications")

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
        settings = self.settings
        return Telemetry(
            {"users": "user", "orders": "order", "payments": "payment"}.get(service, service),
            registry=self.registry,
            span_processors=self.span_processors,
            sample_ratio=settings.sample_ratio,
            log=self.log,
            log_level=settings.log_level,
        )


class Kit:
    """What one service is put together from."""

    def __init__(self, runtime: Runtime, name: str, tables: MetaData | None = None) -> None:
        self.runtime = runtime
        self.settings = runtime.settings
        self.registry = runtime.registry
        self.name = name
        self.telemetry = runtime.telemetry(name)
        self.credentials = ServiceCredentials(name, runtime.keys(name), audience=AUDIENCE)
        self.tables = tables
        self.database = Database(self.settings.data_dir / f"{name}.db", name=f"{name}-database")
        self.outbox = Outbox(f"/services/{name}")
        self.units: UnitOfWork[Event] = UnitOfWork(self.database, self.outbox)
        self.inbox = Inbox(name)
        self._sagas: SagaRunner | None = None

    def pipeline(self, *policies: Middleware) -> Pipeline:
        """Return a pipeline that is observed as this service's."""
        return Pipeline(Observe(self.telemetry), *policies)

    def channel(self, service: str) -> RpcChannel:
        """Open a channel to another service, on which this service speaks for itself."""
        observed = self.pipeline()
        return self.runtime.mesh.channel(
            service, lambda _: observed, credentials=self.credentials, inject=inject
        )

    def gateway_channel(self, service: str) -> RpcChannel:
        """Open a channel on which callers speak for themselves, by the token they sent."""
        observed = self.pipeline()
        return self.runtime.mesh.channel(service, lambda _: observed, inject=inject)

    def consumer(self, handlers: Mapping[str, Handler]) -> Consumer:
        """Return the consumer of this service's queue; events of one subject keep their order."""
        return Consumer(
            self.runtime.broker,
            self.name,
            handlers,
            pipeline=self.pipeline(),
            ordered=True,
        )

    def once(self, handle: Callable[[Event, object], object]) -> Handler:
        """Return a handler that has its effect once per event, in one unit of work."""
        return self.inbox.handler(self.units, handle)  # type: ignore[arg-type]

    def sagas(self, *sagas: Saga) -> SagaRunner:
        """Return the runner of this service's sagas."""
        return SagaRunner(
            self.database, sagas, name=f"{self.name}-sagas", pipeline=self.pipeline()
        )
