"""The inbound HTTP door: a pipeline around any ASGI app, Starlette's and FastAPI's included."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from starlette.requests import ClientDisconnect

from prodkit.call import CURRENT, Call, Kind
from prodkit.checks import Doorway
from prodkit.clock import SYSTEM_CLOCK, Clock, seconds
from prodkit.errors import InternalError, ServiceError, ShuttingDownError, UnavailableError
from prodkit.pipeline import Pipeline, admit
from prodkit.traits import Trait
from prodkit.transports.asgi.body import Receive, Send, client_gone
from prodkit.transports.asgi.exchange import BufferedResponse, HttpExchange
from prodkit.transports.asgi.request import DoorOptions, Scope
from prodkit.transports.asgi.route import route_of
from prodkit.transports.asgi.websocket import WebSocketSession

__all__ = ["BufferedResponse", "PipelineMiddleware"]

#: Whatever a server takes for one: libraries type scopes and messages in ways of their own.
ASGIApp: TypeAlias = Any
_NONE: Mapping[str, int] = MappingProxyType({})
#: Who cancels a request from outside is the server that stops. No ShuttingDownError: it did run.
_SHUTTING_DOWN = UnavailableError("the service is shutting down", reason=ShuttingDownError.reason)
_log = logging.getLogger("prodkit.http")


class PipelineMiddleware:
    """Raw ASGI middleware that passes every HTTP request and websocket through `pipeline`.

    Refusals and exceptions become RFC 9457 problems as long as nothing was sent; after that the
    response is broken off. Exceptions do not reach the server: the pipeline's telemetry tells of
    them, and where the pipeline has none, the logger `prodkit.http`. Every response carries
    `x-request-id`, the one that came in if it is printable ASCII of at most 128 characters.

    `edge`: strangers call here. `call.metadata` then hides `baggage`, `tracestate` and `x-prodkit-`
    headers, and `call.edge` tells telemetry not to believe the caller's sampling. The guest app
    still sees what the server gave it.
    `body_limit` is in bytes, announced or chunked: 413. `body_timeout` bounds the seconds spent
    waiting for the whole body: 408. `trusted_proxies` says how many hops of X-Forwarded-For are
    ours, for `call.metadata["client-address"]`. `statuses` are the HTTP statuses of the app's own
    reasons, where the one of their code says too little: `{"PAYMENT_DECLINED": 402}`.

    Request headers: `x-request-timeout` (decimal seconds) gives `call.deadline`, which a Deadline
    policy shortens and enforces; `Idempotency-Key` (draft -07, quoted or not) gives `call.key`
    unless the method is safe. `call.operation` is the method and the raw path before routing, the
    method and the route template after it. `locate` says which route would answer a scope,
    `Gateway.locate` say: it is asked only for calls that were refused before they were routed, so
    that metrics and access lines name their templates too.

    One of these inside another answers the same request: its call has the outer one's request id,
    principal and, at most, its deadline, and the RateLimit fields of both are one list.

    The guest's handler is not cancelled when its client disconnects: what it began, it ends.
    """

    def __init__(
        self,
        app: ASGIApp,
        pipeline: Pipeline,
        *,
        edge: bool = True,
        body_limit: int = 1 << 20,
        body_timeout: float = 10.0,
        trusted_proxies: int = 0,
        statuses: Mapping[str, int] = _NONE,
        locate: Callable[[Scope], object] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if body_limit < 0:
            raise ValueError(f"body_limit must not be negative, not {body_limit!r}")
        if trusted_proxies < 0:
            raise ValueError(f"trusted_proxies must not be negative, not {trusted_proxies!r}")
        door = Doorway("PipelineMiddleware", Kind.SERVER, replays=True, routed=False, early=True)
        admit(pipeline, door)
        self.app = app
        self._options = DoorOptions(
            edge,
            body_limit,
            seconds("body_timeout", body_timeout),
            trusted_proxies,
            clock,
            statuses,
            locate,
        )
        self._observed = Trait.OBSERVES in pipeline.traits
        self._answer = pipeline.bind(self._run_guest)
        self._serve = pipeline.bind(self._run_session)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope; lifespan and unknown scopes go to the guest as they are."""
        kind = scope["type"]
        if kind != "http":
            await (self._websocket if kind == "websocket" else self.app)(scope, receive, send)
            return
        exchange = HttpExchange(scope, receive, send, self._options)
        call = exchange.call
        token = CURRENT.set(call)
        try:
            response = await self._answer(call)
            if response is not None:
                await exchange.deliver(response)
            elif not exchange.started:
                raise InternalError("the application gave no answer")
        except Exception as error:  # noqa: BLE001 - the door is where every exception ends
            await self._refuse(exchange, error)
        except CancelledError:
            if not exchange.started:
                await exchange.deliver_problem(_SHUTTING_DOWN)
            raise
        finally:
            CURRENT.reset(token)
            call.payload = call.codec = None  # no cycle is left for the garbage collector

    async def _run_guest(self, call: Call) -> BufferedResponse | None:
        exchange: HttpExchange = call.payload
        if exchange.refused is not None:
            raise exchange.refused
        try:
            await self.app(exchange.scope, exchange.receive, exchange.send)
        except Exception as error:
            exchange.drop_held()
            if exchange.refusal is not None:
                raise exchange.refusal from None
            if isinstance(error, ClientDisconnect) or exchange.disconnected:
                raise client_gone() from error
            raise
        finally:
            template = route_of(exchange.scope)
            if template is not None:
                call.operation = f"{exchange.scope['method']} {template}"
        if (exchange.body or exchange.refused) and exchange.refusal is not None:
            raise exchange.refusal
        return exchange.held

    async def _refuse(self, exchange: HttpExchange, error: Exception) -> None:
        if not self._observed and not isinstance(error, ServiceError):
            _log.error("%s failed", exchange.call.operation, exc_info=error)
        if not exchange.started:
            await exchange.deliver_problem(error)
        # Else the guest's response is out, whole or in part: returning now breaks a part off.

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = WebSocketSession(scope, receive, send, self._options)
        token = CURRENT.set(session.call)
        try:
            await self._serve(session.call)
            if not session.answered:
                raise InternalError("the application gave no answer")
        except Exception as error:  # noqa: BLE001 - the door is where every exception ends
            if not self._observed and not isinstance(error, ServiceError):
                _log.error("%s failed", session.call.operation, exc_info=error)
            await session.refuse(error)
        finally:
            CURRENT.reset(token)
            session.call.payload = None

    async def _run_session(self, call: Call) -> None:
        session: WebSocketSession = call.payload
        await session.run(self.app)
