"""Policies on one route of an app that stands behind the ASGI door."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isfunction, isgeneratorfunction
from typing import Any, ParamSpec, TypeVar

from starlette.exceptions import HTTPException
from starlette.responses import Response

from prodkit.call import CURRENT, Call, Kind
from prodkit.checks import Doorway
from prodkit.errors import ConfigurationError
from prodkit.pipeline import Pipeline, admit
from prodkit.traits import Trait
from prodkit.transports.asgi.exchange import BufferedResponse, HttpExchange
from prodkit.transports.asgi.route import route_of
from prodkit.transports.asgi.websocket import WebSocketSession
from prodkit.transports.problem import CODE_OF_STATUS

P = ParamSpec("P")
T = TypeVar("T")

#: What the endpoint of the current task is to be called with. No part of the call: endpoints that
#: call each other side by side answer one call.
_ARGUMENTS: ContextVar[tuple[tuple[Any, ...], dict[str, Any]]] = ContextVar("prodkit_arguments")


def route_pipeline(
    pipeline: Pipeline,
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Put `pipeline` around single routes: a decorator of `async def` endpoints, below the route's.

    It runs on the call that `PipelineMiddleware` is answering, so a refusal is the route's own
    answer, with Retry-After and the RateLimit fields, and keys by client or principal work.
    `call.operation` is the route's from here on. The signature is kept: dependencies are injected
    as before, and are resolved before the pipeline begins. Endpoints that share a pipeline count
    together in it. What the endpoint returned has not left yet: a Fallback may answer in its
    place, and an HTTPException counts as the answer that it will be, by its status.

    Raises ConfigurationError for an endpoint that is not async, and for what has no place here:
    a Retry, which is for outbound calls, Idempotency and Observe, which belong around the app; and
    at a call for an app without a PipelineMiddleware around it.
    """
    admit(pipeline, Doorway("route_pipeline", Kind.SERVER, substitutes=True, principal=True))
    if Trait.OBSERVES in pipeline.traits:
        raise ConfigurationError(
            "route_pipeline: Observe belongs into the pipeline of PipelineMiddleware, which sees "
            "the same calls: here they would be counted twice"
        )

    def decorate(endpoint: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        _check(endpoint)
        name = f"{endpoint.__module__}.{endpoint.__qualname__}"

        async def leaf(call: Call) -> Any:
            args, kwargs = _ARGUMENTS.get()
            return await _answer(call, endpoint(*args, **kwargs))

        handler = pipeline.bind(leaf)

        @wraps(endpoint)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            call = _answered(name)
            token = _ARGUMENTS.set((args, kwargs))
            try:
                result: T = _returned(await handler(call))
            finally:
                _ARGUMENTS.reset(token)
            return result

        return guarded

    return decorate


def _answered(name: str) -> Call:
    """Return the call that the door is answering, by the name of its route."""
    call = CURRENT.get()
    payload = None if call is None else call.payload
    if call is None or not isinstance(payload, HttpExchange | WebSocketSession):
        raise ConfigurationError(
            f"{name}: put PipelineMiddleware around the app, PipelineMiddleware(app, Pipeline()) "
            "say: the policies of a route run on the call that it answers"
        )
    template = route_of(payload.scope)
    if template is not None:
        call.operation = f"{payload.scope.get('method', 'GET')} {template}"
    return call


async def _answer(call: Call, answer: Awaitable[Any]) -> Any:
    """Return what the endpoint does, an HTTPException too, and tell the call its status."""
    try:
        result = await answer
    except HTTPException as error:
        result = error
    status = getattr(result, "status_code", None)
    if isinstance(result, Response | HTTPException) and status is not None:
        call.status, call.code = status, CODE_OF_STATUS[status]
    return result


def _returned(result: Any) -> Any:
    """Raise what was to be raised; a whole answer becomes Starlette's."""
    if isinstance(result, HTTPException):
        raise result
    if isinstance(result, BufferedResponse):
        response = Response(result.body, result.status)
        response.raw_headers = list(result.headers)
        return response
    return result


def _check(endpoint: object) -> None:
    if not isfunction(endpoint):
        raise ConfigurationError(
            f"a route's pipeline goes around an async endpoint function, not {endpoint!r}; of a "
            "class decorate its methods"
        )
    name = endpoint.__qualname__
    if isasyncgenfunction(endpoint) or isgeneratorfunction(endpoint):
        raise ConfigurationError(f"{name} is a generator: return a StreamingResponse instead")
    if not iscoroutinefunction(endpoint):
        raise ConfigurationError(
            f"{name} is no `async def`, as a route with a pipeline must be; what blocks in it runs "
            "in a thread: await run_in_threadpool(...) of starlette.concurrency"
        )
