"""The gateway: an ASGI app made of nothing but a contract and channels to its services."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from prodkit.call import CURRENT, Call
from prodkit.clock import seconds
from prodkit.contract import Contract, MethodContract
from prodkit.contract.bindings import HttpBinding
from prodkit.contract.json_parse import Parsers
from prodkit.contract.json_print import Printers
from prodkit.errors import Code, ConfigurationError, NotFoundError, ServiceError
from prodkit.gateway.body import lead_into
from prodkit.gateway.docs import documentation
from prodkit.gateway.openapi import openapi
from prodkit.gateway.routes import Endpoint, Handler, Route, RouteTable
from prodkit.gateway.streaming import StreamHandler
from prodkit.gateway.transcoding import Receive, Scope, Send, UnaryHandler, requests_of
from prodkit.transports.problem import problem


class Gateway:
    """Serves every HTTP binding of `contract` by calls over `channels`, by service name.

    Channels are grpc.aio's or prodkit's own; their credentials are left alone, the caller's token
    is forwarded as it came. Put it inside of a PipelineMiddleware: errors, its own and those of the
    services, are raised as ServiceError for that door to answer. Without a door around it, it
    answers them itself.

    `headers` names further request headers to forward, the signature of a webhook say. `heartbeat`
    (seconds) is how long a stream may be silent before a comment keeps it alive. `body_limit` is in
    bytes. `docs=False` leaves out /api/openapi.json and /api/docs, which need the `openapi-ui`
    extra. Raises ConfigurationError for a service without a channel, and for a type that JSON
    cannot carry.
    """

    def __init__(
        self,
        contract: Contract,
        channels: Mapping[str, Any],
        *,
        title: str = "API",
        version: str = "1",
        headers: Collection[str] = (),
        heartbeat: float = 15.0,
        body_limit: int = 1 << 20,
        docs: bool = True,
    ) -> None:
        self._channels = channels
        self._headers = tuple(headers)
        self._heartbeat = seconds("heartbeat", heartbeat)
        self._body_limit = body_limit
        self._parsers, self._printers = Parsers(), Printers()
        routes = list(self._compile(contract))
        if docs:
            routes += documentation(openapi(contract, title=title, version=version))
        self._table = RouteTable(routes)

    def _compile(self, contract: Contract) -> Iterator[Route]:
        for method in contract.methods.values():
            for binding in method.bindings:
                try:
                    handler = self._handler(method, binding)
                except ConfigurationError as error:
                    raise ConfigurationError(f"{method.full_name}: {error}") from None
                body = binding.body.removeprefix("*")
                yield Route(binding.verb, binding.template, handler, body, method.statuses)

    def _handler(self, method: MethodContract, binding: HttpBinding) -> Handler:
        channel = self._channels.get(method.service)
        if channel is None:
            raise ConfigurationError(f"there is no channel to {method.service}")
        requests = requests_of(
            method, binding, self._parsers, headers=self._headers, body_limit=self._body_limit
        )
        if method.server_streaming:
            return StreamHandler(method, requests, channel, self._printers, self._heartbeat)
        return UnaryHandler(method, requests, channel, self._printers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
        elif CURRENT.get() is not None:
            await self._serve(scope, receive, send)
        else:
            await self._serve_alone(scope, receive, send)

    def locate(self, scope: Scope) -> Route | None:
        """Return the route that would answer `scope`: the `locate` of PipelineMiddleware."""
        found = self._table.find(scope)
        return None if found is None else found[0].route(scope["method"])

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._table.find(scope)
        if found is None:
            raise NotFoundError("there is nothing at this path", reason="NO_SUCH_PATH")
        endpoint, segments = found
        route = endpoint.route(scope["method"])
        if route is None:
            await _refuse_verb(endpoint, scope, send)
            return
        scope["route"] = route
        call = CURRENT.get()
        if call is not None and route.statuses:
            call.statuses = route.statuses
        try:
            await route.handler(scope, receive, send, route.values(segments))
        except ServiceError as error:
            if route.body:
                lead_into(route.body, error)
            raise

    async def _serve_alone(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do the door's part where there is none: answer errors that are raised."""
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._serve(scope, receive, watched)
        except Exception as error:
            if not started:
                await _answer_problem(error, scope, send)
            if not isinstance(error, ServiceError):
                raise  # the server logs it


async def _refuse_verb(endpoint: Endpoint, scope: Scope, send: Send) -> None:
    scope["route"] = next(iter(endpoint.routes.values()))  # for the template, which they share
    allow = (b"allow", endpoint.allow.encode("ascii"))
    if scope["method"] == "OPTIONS":
        await send({"type": "http.response.start", "status": 204, "headers": [allow]})
        await send({"type": "http.response.body", "body": b""})
        return
    error = ServiceError(
        f"only {endpoint.allow} work here", code=Code.UNIMPLEMENTED, reason="METHOD_NOT_ALLOWED"
    )
    await _answer_problem(error, scope, send, allow)


async def _answer_problem(
    error: Exception, scope: Scope, send: Send, *more: tuple[bytes, bytes]
) -> None:
    call = CURRENT.get() or _alone(scope)
    status, headers, body = problem(error, call=call)
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *more]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _alone(scope: Scope) -> Call:
    """Return a call for the problem that is answered without a door."""
    call = Call(f"{scope['method']} {scope['path']}")
    if "route" in scope:
        call.statuses = scope["route"].statuses
    return call


async def _lifespan(receive: Receive, send: Send) -> None:
    """Nothing is opened or closed here: the channels are the service's resources."""
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
