"""What mypy must know of decorated functions and of middlewares; checked by mypy, never run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, assert_type

from prodkit import Call, Code, Next, Pipeline
from prodkit.messaging.event import Event
from prodkit.policies.circuit_breaker import CircuitBreaker
from prodkit.policies.deadline import Deadline
from prodkit.policies.idempotency import Idempotency
from prodkit.policies.rate_limiter import Rate, RateLimiter
from prodkit.policies.retry import Retry
from prodkit.policies.timeout import Timeout
from prodkit.stores.memory import MemoryIdempotencyStore
from prodkit.telemetry import Observe, Telemetry

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
