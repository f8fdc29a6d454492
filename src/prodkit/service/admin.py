"""The admin port: metrics, health in detail, and a few levers behind a token."""

from __future__ import annotations

import logging
from collections.abc import Callable
from hmac import compare_digest

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from prodkit.errors import ConfigurationError
from prodkit.service.health import Health
from prodkit.service.settings import is_loopback
from prodkit.transports.http_server import HttpServer

_log = structlog.get_logger("prodkit.admin")


class Admin:
    """A server of its own for operators; give it to a `Service` or `Platform` as `admin`.

    `/metrics` is the one `registry` in Prometheus' format, `/health` what the checks found. With
    a `token` there is `POST /admin/drain` and `PUT /admin/log-level`, for whoever shows it as a
    bearer token. On loopback metrics and health need no token; on any other host the token is
    mandatory, and metrics need it too (health does not: probes show none).
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        token: SecretStr | None = None,
        host: str = "127.0.0.1",
        port: int = 9090,
        name: str = "admin",
    ) -> None:
        self._open_metrics = is_loopback(host)
        if not self._open_metrics and token is None:
            raise ConfigurationError(f"admin: {host} is not loopback, so a token is needed")
        self.name = name
        self._registry = registry
        self._token = token.get_secret_value().encode() if token is not None else b""
        self._host = host
        self._port = port
        self._server: HttpServer | None = None
        self._health = Health()
        self._drain: Callable[[str], None] = _nobody

    @property
    def port(self) -> int:
        """The port in use, once started."""
        return self._server.port if self._server is not None else self._port

    def attach(self, health: Health, drain: Callable[[str], None]) -> None:
        """Learn what to show and what to trigger; the platform calls this."""
        self._health = health
        self._drain = drain

    async def start(self) -> None:
        """Listen."""
        server = HttpServer(
            self.app(), name=self.name, host=self._host, port=self._port, edge=False
        )
        await server.start()
        self._server = server

    async def stop(self, grace: float) -> None:
        """Stop listening."""
        if self._server is not None:
            await self._server.stop(grace)

    def app(self) -> Starlette:
        """Return the ASGI app by itself."""
        routes: list[BaseRoute] = [Route("/metrics", self._metrics), *self._health.routes()]
        if self._token:
            routes.append(Route("/admin/drain", self._ask_to_drain, methods=["POST"]))
            routes.append(Route("/admin/log-level", self._set_level, methods=["PUT"]))
        return Starlette(routes=routes)

    def _metrics(self, request: Request) -> Response:
        """Render in a worker thread: Starlette runs plain functions there."""
        if not (self._open_metrics or self._admitted(request)):
            return _refused()
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._registry), headers={"content-type": content_type})

    async def _ask_to_drain(self, request: Request) -> Response:
        if not self._admitted(request):
            return _refused()
        self._drain("asked on the admin port")
        return JSONResponse({"status": "draining"}, 202)

    async def _set_level(self, request: Request) -> Response:
        if not self._admitted(request):
            return _refused()
        name = (await request.body())[:16].decode("ascii", "replace").strip().upper()
        level = logging.getLevelNamesMapping().get(name)
        if level is None:
            return JSONResponse({"detail": "the body must be debug, info, warning or error"}, 400)
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
        logging.getLogger().setLevel(level)
        _log.warning("log level changed", level=name.lower())
        return Response(status_code=204)

    def _admitted(self, request: Request) -> bool:
        shown = request.headers.get("authorization", "").encode("utf-8", "replace")
        return bool(self._token) and compare_digest(shown, b"Bearer " + self._token)


def _refused() -> Response:
    return JSONResponse(
        {"detail": "the admin token is needed"}, 401, headers={"www-authenticate": "Bearer"}
    )


def _nobody(_: str) -> None:
    """Stand in for the platform until it attaches."""
