"""The platform on one page: all services of the shop in one process."""

from __future__ import annotations

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prodkit.service.admin import Admin
from prodkit.service.component import Component
from prodkit.service.health import Health
from prodkit.service.platform import Platform
from prodkit.service.service import Service
from prodkit.telemetry import configure_logging
from prodkit.transports.embedded import EmbeddedBroker

from ecommerce.catalog import service as catalog
from ecommerce.gateway import service as gateway
from ecommerce.notifications import service as notifications
from ecommerce.orders import service as orders
from ecommerce.payments import service as payments
from ecommerce.runtime import Runtime
from ecommerce.settings import ShopSettings
from ecommerce.spans import FileSpanExporter
from ecommerce.users import service as users


def build(settings: ShopSettings, *last: Component) -> Platform:
    """Put the process together; nothing is opened before it runs. `last` starts after all else."""
    broker = EmbeddedBroker(settings.make_data_dir() / "broker.db", lease=settings.lease)
    runtime = Runtime(
        settings,
        broker=broker,
        log=configure_logging("shop", level=settings.log_level),
        span_processors=_processors(settings),
    )
    health = Health()
    return Platform(
        [
            Service("broker", settings=settings, resources=[broker]),
            users.build(runtime),
            catalog.build(runtime),
            orders.build(runtime),
            payments.build(runtime),
            notifications.build(runtime),
            gateway.build(runtime, health),
            Service("outside", settings=settings, servers=last),
        ],
        health=health,
        admin=Admin(
            runtime.registry,
            token=settings.admin_token,
            host=settings.admin_host,
            port=settings.admin_port,
        ),
        drain_delay=settings.drain_delay,
        drain_timeout=settings.drain_timeout,
    )


def _processors(settings: ShopSettings) -> list[SpanProcessor]:
    if settings.spans_file is None:
        return []
    return [BatchSpanProcessor(FileSpanExporter(settings.spans_file), schedule_delay_millis=500)]
