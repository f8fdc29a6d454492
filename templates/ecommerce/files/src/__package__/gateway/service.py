"""The gateway on one page."""

from __future__ import annotations

from typing import cast

import httpx2
from prodkit.contract import Contract
from prodkit.gateway import Gateway
from prodkit.pipeline import Pipeline
from prodkit.policies.deadline import Deadline
from prodkit.policies.load_shedder import LoadShedder
from prodkit.policies.rate_limiter import Rate, RateLimiter, by_client
from prodkit.service.health import Health
from prodkit.service.service import Service
from prodkit.telemetry import Observe, inject
from prodkit.transports.asgi import PipelineMiddleware
from prodkit.transports.http_server import HttpServer
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ..kit import Client
from ..runtime import Runtime
from ..storefront.app import storefront_routes
from .contracts import CONTRACTS
from .front import App, Front, SecurityHeaders
from .priority import among_others, among_sales
from .sandbox_proxy import SandboxProxy

#: Longer than any method's own deadline.
DEADLINE = 20.0
#: How many at once a gateway begins with, of checkouts and of others. A limit that is used and fast
#: grows within seconds; one that is too high falls slowly, since what waits teaches late.
FIRST = 10


def build(runtime: Runtime, health: Health) -> Service:
    """Put the gateway together; `health` is the whole process's."""
    settings = runtime.settings
    telemetry = runtime.telemetry("gateway")
    observed = Pipeline(Observe(telemetry))
    channels = {}
    for name, module in CONTRACTS.items():
        channel = runtime.mesh.channel(name, lambda _: observed, inject=inject)
        for service in module.DESCRIPTOR.services_by_name.values():
            channels[service.full_name] = channel
    api = Gateway(
        Contract.load(*CONTRACTS.values()),
        channels,
        title="The shop",
        version="1.0.0",
        headers=("x-provider-signature",),
    )
    pages = [*health.routes(), *storefront_routes()]
    resources = []
    if settings.environment == "demo":
        client = httpx2.AsyncClient(base_url=settings.provider_url, timeout=5.0)
        resources.append(Client("sandbox client", client))
        pages += [*SandboxProxy(client).routes(), metrics_route(runtime.registry)]
    rate = Rate(settings.requests_per_second, per=1.0, burst=2 * settings.requests_per_second)
    limiter = RateLimiter(rate, key=by_client, store=runtime.engines.rates, name="gateway")
    floor = settings.concurrency_floor
    first = max(FIRST, floor)
    sales = LoadShedder(floor=floor, initial=first, priority=among_sales)
    others = LoadShedder(floor=floor, initial=first, priority=among_others)
    app: App = PipelineMiddleware(
        Front(api, Starlette(routes=pages)),
        Pipeline(Observe(telemetry), sales, others, limiter, Deadline(DEADLINE)),
        edge=True,
        trusted_proxies=settings.trusted_proxies,
        locate=api.locate,
    )
    if settings.cors_origins:
        app = CORSMiddleware(
            cast("ASGIApp", app),
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type", "idempotency-key"],
        )
    server = HttpServer(SecurityHeaders(app), host=settings.host, port=settings.port, edge=True)
    return Service(
        "gateway",
        settings=settings,
        telemetry=telemetry,
        resources=resources,
        servers=[server],
        health=health,
    )


def metrics_route(registry: CollectorRegistry) -> Route:
    """Return `/metrics` on the public port; only the demo has it there."""

    def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    return Route("/metrics", metrics)
