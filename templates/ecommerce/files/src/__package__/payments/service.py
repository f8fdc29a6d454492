"""The payments service on one page."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial

import httpx2
from prodkit.errors import Code
from prodkit.messaging.event import Event
from prodkit.policies.circuit_breaker import CircuitBreaker
from prodkit.policies.retry import Retry
from prodkit.policies.timeout import Timeout
from prodkit.service.service import Service
from prodkit.telemetry import inject
from prodkit.transports.http import PipelineTransport

from ..contract.orders.v1.orders_pb2_grpc import OrderServiceStub
from ..contract.payments.v1 import payments_pb2, payments_pb2_grpc
from ..kit import Client, Kit
from ..runtime import Runtime
from .clients import OrdersClient
from .metrics import PaymentMetrics
from .paying import Paying
from .provider import ProviderClient
from .repository import Work
from .sagas import PaymentSagas
from .servicer import PaymentServicer
from .states import States
from .tables import metadata
from .vault import Vault
from .webhooks import Webhooks


def build(runtime: Runtime) -> Service:
    """Put the service together."""
    kit = Kit(runtime, "payments", metadata)
    settings, now = runtime.settings, partial(datetime.now, UTC)
    client = _client(kit)
    provider, orders = ProviderClient(client), OrdersClient(OrderServiceStub(kit.channel("orders")))
    vault = Vault(lifetime=settings.reservation_lifetime, now=time.monotonic)
    states = States(kit.units, PaymentMetrics(kit.registry), now=now)
    sagas = PaymentSagas(
        database=kit.database,
        units=kit.units,
        states=states,
        provider=provider,
        orders=orders,
        vault=vault,
    )
    runner = kit.sagas(sagas.payment, sagas.refund)
    paying = Paying(
        database=kit.database,
        units=kit.units,
        provider=provider,
        vault=vault,
        runner=runner,
        sagas=sagas,
        patience=settings.payment_patience,
        now=now,
    )
    secret = settings.webhook_secret.get_secret_value().encode()
    servicer = PaymentServicer(
        database=kit.database,
        paying=paying,
        orders=orders,
        webhooks=Webhooks(states, secret, now=time.time),
    )

    async def order_cancelled(event: Event, work: Work) -> None:
        await paying.order_cancelled(work, event.data["order_id"])

    return kit.service(
        contract=[payments_pb2],
        registrations=[
            lambda server: payments_pb2_grpc.add_PaymentServiceServicer_to_server(servicer, server)
        ],
        resources=[Client("provider client", client)],
        consumers=[kit.consumer({"order.cancelled": kit.once(order_cancelled)})],
        workers=[runner],
        unheard=["payment.captured"],
    )


def _client(kit: Kit) -> httpx2.AsyncClient:
    """Return the client of the provider: retries within a breaker's sight, each try timed.

    A provider that hangs costs one time-out per caller until the breaker has seen enough, and
    nothing after that.
    """
    settings = kit.settings
    pipeline = kit.outbound(
        Retry(on=(Code.UNAVAILABLE, Code.INTERNAL), attempts=2, wait_initial=0.05, wait_max=0.5),
        CircuitBreaker("provider", consecutive_failures=5, break_duration=2.0),
        Timeout(settings.provider_timeout),
    )
    return httpx2.AsyncClient(
        base_url=settings.provider_url,
        transport=PipelineTransport(pipeline, inject=inject),
        timeout=settings.provider_timeout + 1.0,
    )
