"""`@cached`: a function with a cache of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from datetime import timedelta
from typing import ParamSpec, Protocol, Required, TypedDict, TypeVar, Unpack

from prodkit.clock import Clock
from prodkit.data.cache.cache import Cache
from prodkit.data.cache.negative import On
from prodkit.data.cache.reports import Listener
from prodkit.data.cache.wrapping import Cached, arguments_key, wrapped

V = TypeVar("V")
P = ParamSpec("P")


class CacheOptions(TypedDict, total=False):
    """The options of `Cache` that a function's own cache has; see there."""

    ttl: Required[float | timedelta]
    max_size: int
    negative_ttl: float | timedelta | None
    negative_on: On
    stale: float | timedelta
    stale_if_error: float | timedelta
    jitter: float
    listener: Listener[Hashable] | None
    clock: Clock
    random: Callable[[], float]


class CachedDecorator(Protocol):
    """Turns an async function into one with a cache, and keeps its signature."""

    def __call__(self, function: Callable[P, Awaitable[V]], /) -> Cached[P, V]:
        """Put a new cache around `function`."""


def cached(
    *, key: Callable[..., Hashable] | None = None, **options: Unpack[CacheOptions]
) -> CachedDecorator:
    """Give an async function a `Cache` of its own: `@cached(ttl=30.0)`.

    `key` makes the key of the arguments. Without it all of them are the key, however they are
    passed, and TypeError is raised for one that has no hash; 1, 1.0 and True are different. The
    cache is `function.cache`, and `await function.invalidate(...)` takes the function's arguments.
    It bears the function's name.
    """
    Cache[Hashable, object](**options)  # what cannot be is refused on this line

    def decorate(function: Callable[P, Awaitable[V]]) -> Cached[P, V]:
        cache = Cache[Hashable, V](name=function.__qualname__, **options)
        return wrapped(cache, function, arguments_key(function) if key is None else key)

    return decorate
