"""The front door: HTTP."""

from __future__ import annotations

from prodkit.pipeline import Pipeline
from prodkit.policies.deadline import Deadline
from prodkit.policies.rate_limiter import Rate, RateLimiter, by_client
from prodkit.service.health import Health
from prodkit.service.service import Service
from prodkit.telemetry import Observe
from prodkit.transports.asgi import PipelineMiddleware
from prodkit.transports.http_server import HttpServer
from starlette.applications import Starlette

from .runtime import Runtime

#: Seconds that a request may take.
DEADLINE = 10.0


def build(runtime: Runtime, health: Health) -> Service:
    """Put the door together; `health` is the whole process's."""
    settings = runtime.settings
    telemetry = runtime.telemetry("front")
    rate = Rate(settings.requests_per_second, per=1.0, burst=2 * settings.requests_per_second)
    limiter = RateLimiter(rate, key=by_client, store=runtime.engines.rates, name="front")
    door = PipelineMiddleware(
        Starlette(routes=[*health.routes(), *runtime.routes]),
        Pipeline(Observe(telemetry), limiter, Deadline(DEADLINE)),
        trusted_proxies=settings.trusted_proxies,
    )
    return Service(
        "front",
        settings=settings,
        telemetry=telemetry,
        servers=[HttpServer(door, host=settings.host, port=settings.port)],
        health=health,
    )
