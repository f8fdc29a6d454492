"""The platform on one page: the services of the shop that one process serves."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prodkit.service.admin import Admin
from prodkit.service.component import Component
from prodkit.service.health import Health
from prodkit.service.platform import Platform
from prodkit.service.service import Service
from prodkit.service.workers import Worker
from prodkit.telemetry import configure_logging

from .gateway import service as gateway
from .peers import GATEWAY, placed
from .recovery.unfinished import check_restored
from .runtime import Runtime
from .services import SERVICES
from .settings import Settings
from .spans import FileSpanExporter

#: Seconds between looks for keys that another process has rotated.
RELOAD_KEYS = 15.0


def build(settings: Settings, *last: Component, only: Sequence[str] = ()) -> Platform:
    """Put the process together; nothing is opened before it runs. `last` starts after all else.

    `only` are the services that it serves, all of them if there are none. Raises
    ConfigurationError.
    """
    check_restored(settings)
    placement = placed(only, mesh=settings.mesh, grpc_port=settings.grpc_port, peers=settings.peers)
    runtime = Runtime(
        settings,
        placement,
        log=configure_logging("shop", level=settings.log_level),
        span_processors=_processors(settings),
    )
    health = Health()
    engines = runtime.engines
    return Platform(
        [
            Service(
                "shared",
                settings=settings,
                resources=engines.resources,
                workers=[Worker("reload keys", runtime.reload_keys, interval=RELOAD_KEYS)],
                checks=engines.checks,
            ),
            *_services(runtime, health),
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


def _services(runtime: Runtime, health: Health) -> list[Service]:
    """Build what is served here; the gateway's health tells of the services elsewhere too."""
    here = runtime.placement.here
    services = [module.build(runtime) for name, module in SERVICES.items() if name in here]
    if GATEWAY in here:
        services += [
            Service(name, settings=runtime.settings, checks=[runtime.mesh.probe(name)])
            for name in runtime.placement.elsewhere
        ]
        services.append(gateway.build(runtime, health))
    return services


def _processors(settings: Settings) -> list[SpanProcessor]:
    if settings.spans_file is None:
        return []
    return [BatchSpanProcessor(FileSpanExporter(settings.spans_file), schedule_delay_millis=500)]
