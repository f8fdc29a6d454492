"""The notifications service on one page."""

from __future__ import annotations

import time

import httpx2
from prodkit.policies.circuit_breaker import CircuitBreaker
from prodkit.policies.timeout import Timeout
from prodkit.service.service import Service
from prodkit.service.workers import Worker
from prodkit.telemetry import inject
from prodkit.transports.http import PipelineTransport

from ..contract.notifications.v1 import notifications_pb2, notifications_pb2_grpc
from ..contract.users.v1.users_pb2_grpc import UserServiceStub
from ..kit import Client, Kit
from ..runtime import Runtime
from .channels import Mail, ShortMessages
from .dispatch import Dispatcher
from .messages import TEXTS
from .metrics import NotificationMetrics
from .servicer import NotificationServicer
from .tables import metadata
from .telling import Telling


def build(runtime: Runtime) -> Service:
    """Put the service together."""
    kit = Kit(runtime, "notifications", metadata)
    settings = runtime.settings
    mail = Mail(settings.smtp_host, settings.smtp_port, sender="shop@example.com")
    guarded = kit.outbound(CircuitBreaker("smtp", consecutive_failures=5), Timeout(5.0))
    client = httpx2.AsyncClient(
        base_url=settings.provider_url,
        transport=PipelineTransport(
            kit.outbound(CircuitBreaker("gateways", consecutive_failures=5), Timeout(5.0)),
            inject=inject,
        ),
    )
    dispatcher = Dispatcher(
        kit.database,
        {
            "email": guarded(operation="smtp send")(mail.send),
            "sms": ShortMessages(client, "/v1/sms").send,
            "push": ShortMessages(client, "/v1/push").send,
        },
        NotificationMetrics(kit.registry),
        pipeline=kit.pipeline(),
        now=time.time,
    )
    sending = Worker("send notifications", dispatcher.send_due, interval=0.5)
    telling = Telling(
        units=kit.units,
        inbox=kit.inbox,
        users=UserServiceStub(kit.channel("users")),
        now=time.time,
        wake=sending.wake,
    )
    servicer = NotificationServicer(kit.database)
    return kit.service(
        contract=[notifications_pb2],
        registrations=[
            lambda server: notifications_pb2_grpc.add_NotificationServiceServicer_to_server(
                servicer, server
            )
        ],
        resources=[Client("gateways client", client)],
        consumers=[kit.consumer(dict.fromkeys(TEXTS, telling.handle))],
        workers=[sending],
    )
