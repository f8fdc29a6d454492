"""What one service of the shop is put together from; every service uses the same parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import ModuleType

import httpx2
from prodkit.call import Call
from prodkit.contract import Contract
from prodkit.data.saga import Saga, SagaRunner
from prodkit.data.unit_of_work import UnitOfWork, Work
from prodkit.errors import DeadlineExceededError, UnavailableError
from prodkit.holding import outside_transactions
from prodkit.messaging import tables
from prodkit.messaging.consumer import Consumer, Handler
from prodkit.messaging.event import Event
from prodkit.messaging.housekeeping import Housekeeping
from prodkit.messaging.inbox import Inbox
from prodkit.messaging.outbox import Outbox
from prodkit.messaging.relay import OutboxRelay
from prodkit.pipeline import Middleware, Pipeline
from prodkit.policies.deadline import Deadline
from prodkit.security.authorization import Authenticate
from prodkit.security.credentials import ServiceCredentials
from prodkit.security.revocations import RevocationList, Revoked
from prodkit.service.component import Component
from prodkit.service.contract_pipelines import ContractPipelines
from prodkit.service.health import Check
from prodkit.service.service import Service
from prodkit.service.workers import Worker
from prodkit.stores.sql import SqlIdempotencyStore
from prodkit.telemetry import Observe, inject
from prodkit.transports.rpc.client import RpcChannel
from prodkit.transports.rpc.registrar import Registration
from sqlalchemy import MetaData

from . import schema
from .contract.users.v1.users_pb2 import ListRevocationsRequest
from .contract.users.v1.users_pb2_grpc import AuthServiceStub
from .runtime import AUDIENCE, Runtime
from .schema import Schema

#: Seconds that users are asked for, by a service that starts: they may be starting too.
FIRST_WAIT, LATER_WAIT = 45.0, 5.0
#: Seconds that the handling of one event may take; then it is tried again later.
EVENT_DEADLINE = 10.0


class Kit:
    """The parts of one service: database, outbox, inbox, telemetry, channels, and itself."""

    def __init__(self, runtime: Runtime, name: str, *metadata: MetaData) -> None:
        self.runtime = runtime
        self.settings = runtime.settings
        self.registry = runtime.registry
        self.name = name
        self.telemetry = runtime.telemetry(name)
        self.database = runtime.engines.database(name)
        self.outbox = Outbox(f"/services/{name}")
        self.units: UnitOfWork[Event] = UnitOfWork(self.database, self.outbox)
        self.inbox = Inbox(name)
        self._schema = Schema(
            self.database, *tables.TABLES, *metadata, versions=schema.versions(name)
        )
        self._credentials = ServiceCredentials(name, runtime.keys(name), audience=AUDIENCE)
        self._channels: dict[str, RpcChannel] = {}
        self._users_wait = FIRST_WAIT

    def pipeline(self, *policies: Middleware) -> Pipeline:
        """Return a pipeline that is observed as this service's."""
        return Pipeline(Observe(self.telemetry), *policies)

    def outbound(self, *policies: Middleware) -> Pipeline:
        """Return the same for calls to others: none is made while a transaction is open."""
        return self.pipeline(outside_transactions, *policies)

    def channel(self, service: str) -> RpcChannel:
        """Return the channel to another service, on which this one speaks for itself."""
        if service not in self._channels:
            observed = self.outbound()
            self._channels[service] = self.runtime.mesh.channel(
                service, lambda _: observed, credentials=self._credentials, inject=inject
            )
        return self._channels[service]

    def consumer(self, handlers: Mapping[str, Handler]) -> Consumer:
        """Return the consumer of this service's queue; events of one subject keep their order."""
        return Consumer(
            self.runtime.engines.broker,
            self.name,
            handlers,
            pipeline=self.pipeline(Deadline(EVENT_DEADLINE)),
            ordered=True,
            # Some six minutes of trying: neighbours restart in less.
            max_attempts=12,
            retry_delay=0.5,
            retry_max=60.0,
        )

    def once(self, handle: Callable[[Event, Work[Event]], Awaitable[None]]) -> Handler:
        """Return a handler that has its effect once per event, in one unit of work."""
        return self.inbox.handler(self.units, handle)

    def sagas(self, *sagas: Saga) -> SagaRunner:
        """Return the runner of this service's sagas."""
        runner = SagaRunner(
            self.database, sagas, name=f"{self.name} sagas", pipeline=self.pipeline(), margin=2.0
        )
        self.runtime.gauges.watch_sagas(self.name, runner)
        return runner

    def service(
        self,
        *,
        contract: Sequence[ModuleType],
        registrations: Sequence[Registration],
        resources: Sequence[Component] = (),
        consumers: Sequence[Component] = (),
        workers: Sequence[Component] = (),
        unheard: Sequence[str] = (),
        revoked: Callable[[], Awaitable[Revoked]] | None = None,
    ) -> Service:
        """Put the service together.

        `unheard` are the events that nobody has to listen to. `revoked` says which tokens ended;
        by default the users service is asked.
        """
        revocations = RevocationList(revoked or self._ask_users, name=f"{self.name} revocations")
        described = Contract.load(*contract)
        pipelines = ContractPipelines(
            described,
            telemetry=self.telemetry,
            authenticate=Authenticate(self.runtime.verifier(), revocations=revocations),
            idempotency=SqlIdempotencyStore(self.database.writer),
            secret=self.settings.idempotency_secret.get_secret_value().encode(),
            scopes={
                name: by_operation
                for name, method in described.methods.items()
                if method.access.public
            },
            lease=self.settings.lease,
            rates=self.runtime.engines.rates,
        )
        relay = OutboxRelay(
            self.database,
            self.outbox,
            self.runtime.engines.broker,
            name=f"{self.name} relay",
            optional_types=unheard,
            lease=self.settings.lease,
        )
        self.runtime.gauges.watch_relay(self.name, relay)
        refresh = Worker(
            revocations.name,
            revocations.refresh,
            interval=self.settings.revocations_every,
            backoff_max=15.0,
        )
        keep = Housekeeping(
            self.database, self.outbox.purge, self.inbox.purge, name=f"{self.name} housekeeping"
        )
        return Service(
            self.name,
            settings=self.settings,
            telemetry=self.telemetry,
            resources=[self.database, self._schema, *resources],
            servers=[
                self.runtime.mesh.serve(self.name, registrations, pipelines, described.methods)
            ],
            consumers=[revocations, *consumers],
            workers=[relay, refresh, keep, *workers],
            checks=[Check("database", self.database.ping)],
        )

    async def _ask_users(self) -> Revoked:
        users = AuthServiceStub(self.channel("users"))
        try:
            answer = await users.ListRevocations(
                ListRevocationsRequest(), timeout=self._users_wait, wait_for_ready=True
            )
        except (UnavailableError, DeadlineExceededError) as error:
            raise UnavailableError(
                "users cannot be asked which tokens ended: are they running, and are peers right?"
            ) from error
        self._users_wait = LATER_WAIT
        return Revoked(tuple(answer.sessions), dict(answer.role_versions))


class Client:
    """Closes an HTTP client when the service ends."""

    def __init__(self, name: str, client: httpx2.AsyncClient) -> None:
        self.name = name
        self._client = client

    async def start(self) -> None:
        """Do nothing: connections are made when they are needed."""

    async def stop(self, grace: float) -> None:
        """Close the connections."""
        await self._client.aclose()


def by_operation(call: Call) -> str:
    """Say whose the idempotency key of a public method is: nobody is known, it is everybody's."""
    return call.operation
