"""What mypy must know of decorated functions and of middlewares; checked by mypy, never run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, assert_type

import httpx2
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware as StarletteMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from prodkit import Call, Code, Next, Pipeline
from prodkit.data.cache import Cache, cached
from prodkit.data.loader import Loader
from prodkit.messaging.event import Event
from prodkit.policies.circuit_breaker import CircuitBreaker, KeyedCircuitBreaker, by_host
from prodkit.policies.deadline import Deadline
from prodkit.policies.fallback import Fallback
from prodkit.policies.idempotency import Idempotency
from prodkit.policies.rate_limiter import Rate, RateLimiter
from prodkit.policies.retry import Retry
from prodkit.policies.timeout import Timeout
from prodkit.stores.memory import MemoryIdempotencyStore
from prodkit.telemetry import Observe, Telemetry
from prodkit.transports.asgi import PipelineMiddleware, route_pipeline
from prodkit.transports.http import PipelineTransport

T = TypeVar("T")


async def audit(call: Call, proceed: Next[T]) -> T:
    """A bare function is a middleware."""
    assert_type(call.code, Code)
    return await proceed(call)


class Audit:
    """So is an object that is called with the same."""

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        return await proceed(call)


pipeline = Pipeline(
    audit,
    Audit(),
    Observe(Telemetry("shop")),
    Deadline(2.0),
    RateLimiter(Rate(100)),
    Idempotency(MemoryIdempotencyStore(), secret=b"0123456789abcdef"),
    Retry(on=Code.UNAVAILABLE),
    CircuitBreaker("stock"),
    KeyedCircuitBreaker("hosts", key=by_host, slow_call_duration=2.0),
    Timeout(1.0),
)


@pipeline
async def stock(product: str, *, warehouse: int = 0) -> list[int]:
    """Say how many there are."""
    return [len(product), warehouse]


@pipeline(operation="reserve", safe=True, key=lambda order, lines: order)
async def reserve(order: str, lines: dict[str, int]) -> None:
    """Hold some."""


class Shop:
    """Methods are functions too."""

    @pipeline
    async def price(self, product: str) -> float:
        """Say what it costs."""
        return float(len(product))


@pipeline
def future(number: int) -> Awaitable[str]:
    """What returns an awaitable is called as a coroutine function."""
    raise NotImplementedError


async def check() -> None:
    """Name every type; each line that should not type is marked, and mypy minds unused marks."""
    assert_type(await stock("laptop", warehouse=1), list[int])
    call: Callable[[str], Coroutine[Any, Any, list[int]]] = stock
    assert_type(await call("laptop"), list[int])
    assert_type(await reserve("order-1", {"laptop": 1}), None)
    assert_type(await Shop().price("laptop"), float)
    assert_type(await future(7), str)
    await stock(7)  # type: ignore[arg-type]
    await stock("laptop", 1)  # type: ignore[call-arg]
    await stock("laptop", house=1)  # type: ignore[call-arg]
    await reserve("order-1")  # type: ignore[call-arg]
    await Shop().price()  # type: ignore[call-arg]


def no_stock(call: Call, error: Exception) -> list[int]:
    """Answer for a warehouse that does not."""
    return []


async def last_stock(call: Call, error: Exception) -> list[int]:
    """May be awaited too."""
    return []


fallback = Fallback(no_stock, on=Code.UNAVAILABLE)
fallback.reconfigure(answer=last_stock, on=[KeyError, Code.INTERNAL])
Fallback(no_stock, on=lambda call, error: error is None and call.status == 404)
Fallback(no_stock)  # type: ignore[call-arg]
Fallback([], on=KeyError)  # type: ignore[arg-type]
Fallback(lambda error: [], on=KeyError)  # type: ignore[arg-type, misc]
Fallback(no_stock, on="UNAVAILABLE")  # type: ignore[arg-type]


@Pipeline(fallback)
async def counted(product: str) -> list[int]:
    """Keeps its signature under a fallback."""
    return [len(product)]


guarded: Callable[[str], Coroutine[Any, Any, list[int]]] = counted


async def leaf(call: Call) -> Event:
    """What a door binds."""
    return Event(call.operation, "subject")


bound: Next[Event] = pipeline.bind(leaf)


async def deaf(call: Call) -> None:
    """No middleware: there is no way on."""


async def forgetful(call: Call, proceed: Next[T]) -> None:
    """No middleware either: what was returned is lost."""
    await proceed(call)


Pipeline(deaf)  # type: ignore[arg-type]
Pipeline(forgetful)  # type: ignore[arg-type]
Pipeline("audit")  # type: ignore[arg-type]
pipeline(lambda: 7)  # type: ignore[arg-type, return-value]


@cached(ttl=30.0)
async def price(product: str, *, net: bool = False) -> float:
    """Say what it costs."""
    return len(product) * (0.8 if net else 1.0)


products: Cache[int, str] = Cache(ttl=30.0, negative_on=KeyError)


@products.wrap(key=lambda number, fields=(): number)
async def product(number: int, fields: tuple[str, ...] = ()) -> str:
    """Say what it is."""
    return f"product {number} {fields}"


class Shelf:
    """Methods are functions too."""

    @cached(ttl=30.0, max_size=100)
    async def place(self, product: int) -> bytes:
        """Say where it is."""
        return bytes(product)


async def rows(keys: list[int]) -> dict[int, str]:
    """What a loader gathers for."""
    return {key: str(key) for key in keys}


async def rows_in_order(keys: list[int]) -> list[str | Exception]:
    """Some of what one asks for may fail."""
    return [KeyError(key) if key < 0 else str(key) for key in keys]


async def check_data() -> None:
    """Name every type of what keeps and gathers."""
    assert_type(await price("tea", net=True), float)
    await price.invalidate("tea", net=True)
    call: Callable[[str], Coroutine[Any, Any, float]] = price
    assert_type(await call("tea"), float)
    await price(7)  # type: ignore[arg-type]
    await price.invalidate("tea", True)  # type: ignore[call-arg]
    assert_type(await product(7, ("name",)), str)
    assert_type(await products.get(7, product), str)
    await products.invalidate("7")  # type: ignore[arg-type]
    await products.get(7, price)  # type: ignore[arg-type]
    assert_type(await Shelf().place(7), bytes)
    await Shelf.place.invalidate(Shelf(), 7)
    await Shelf().place("7")  # type: ignore[arg-type]
    loader = Loader(rows)
    assert_type(await loader.load(7), str)
    assert_type(await loader.load_many(range(7)), list[str])
    assert_type(await products.get(7, loader.load), str)
    await loader.load("7")  # type: ignore[arg-type]
    in_order: Loader[int, str] = Loader(rows_in_order, cache=True)
    assert_type(await in_order.load(7), str)


cached(ttl="soon")  # type: ignore[arg-type]
cached(max_size=7)  # type: ignore[call-arg]
cached(ttl=1.0)(lambda: 7)  # type: ignore[arg-type, return-value]


@route_pipeline(pipeline)
async def endpoint(request: Request) -> Response:
    """Keeps its signature on a route."""
    return PlainTextResponse("")


async def check_doors() -> None:
    """Name what other libraries take the doors for."""
    assert_type(await endpoint(Request({"type": "http"})), Response)
    await endpoint("request")  # type: ignore[arg-type]
    app = Starlette(
        routes=[Route("/", endpoint)],
        middleware=[StarletteMiddleware(PipelineMiddleware, pipeline=pipeline, edge=False)],
    )
    app.add_middleware(PipelineMiddleware, pipeline=pipeline)
    FastAPI().add_middleware(PipelineMiddleware, pipeline=pipeline)
    door: ASGIApp = PipelineMiddleware(app, pipeline)
    PipelineMiddleware(door, pipeline)
    PipelineMiddleware(PipelineMiddleware(FastAPI(), pipeline), pipeline)
    inside = httpx2.ASGITransport(app=PipelineMiddleware(app, pipeline))
    httpx2.AsyncClient(transport=PipelineTransport(pipeline, inside))
    httpx2.Client(transport=PipelineTransport(pipeline))  # type: ignore[arg-type]


route_pipeline(Deadline(1.0))  # type: ignore[arg-type]
route_pipeline(pipeline)(lambda request: 7)  # type: ignore[arg-type, return-value]
