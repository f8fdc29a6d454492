"""A cache around an async function: the signature stays, the arguments make the key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Hashable
from functools import wraps
from inspect import Parameter, signature
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    cast,
    overload,
)

if TYPE_CHECKING:
    from prodkit.data.cache.cache import Cache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
P = ParamSpec("P")
Q = ParamSpec("Q")
Owner = TypeVar("Owner")


class Cached(Protocol[P, V]):
    """An async function behind a `cache`; `invalidate` takes the arguments that it is called with.

    A method's is reached by its class: `await Shop.price.invalidate(shop, "laptop")`.
    """

    @property
    def cache(self) -> Cache[Hashable, V]:
        """What keeps its answers."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> V:
        """Return the kept answer, or call the function."""

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the answer for these arguments; see `Cache.invalidate`."""

    @overload
    def __get__(self, instance: None, owner: type[object]) -> Self: ...

    @overload
    def __get__(
        self: Cached[Concatenate[Owner, Q], V], instance: Owner, owner: type[object]
    ) -> Callable[Q, Coroutine[Any, Any, V]]: ...


def wrapped(
    cache: Cache[K, V], function: Callable[P, Awaitable[V]], key: Callable[P, K]
) -> Cached[P, V]:
    """Put `cache` around `function`; `key` makes the key of its arguments."""
    fresh, get = cache.fresh, cache.get

    @wraps(function)
    async def cached(*args: P.args, **kwargs: P.kwargs) -> V:
        made = key(*args, **kwargs)
        try:
            entry = fresh(made)
        except TypeError:
            _refuse_unhashable(function, made)
            raise
        if entry is not None:
            return entry.value
        return await get(made, lambda _: function(*args, **kwargs))

    async def invalidate(*args: P.args, **kwargs: P.kwargs) -> None:
        await cache.invalidate(key(*args, **kwargs))

    cached.__dict__.update(cache=cache, invalidate=invalidate)
    return cast("Cached[P, V]", cached)


def arguments_key(function: Callable[..., object]) -> Callable[..., Hashable]:
    """Return what makes a key of the arguments of `function`, however they are passed.

    Arguments that are equal but of different types (1, 1.0 and True) make different keys. The
    `self` of a method is an argument as well: instances need a hash, and are kept with the entry.
    """
    parameters_of = signature(function)
    parameters = parameters_of.parameters.values()
    positional = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    count = len(parameters) if all(p.kind in positional for p in parameters) else -1

    def key(*args: object, **kwargs: object) -> Hashable:
        if count == 1 == len(args) and not kwargs:  # the same as below, for a third of it
            return args[0], type(args[0])
        if len(args) == count and not kwargs:
            return (*args, *map(type, args))
        bound = parameters_of.bind(*args, **kwargs)
        bound.apply_defaults()
        given = (*bound.args, *map(type, bound.args))
        if not bound.kwargs:
            return given
        named = sorted(bound.kwargs.items())
        return given, tuple((name, value, type(value)) for name, value in named)

    return key


def _refuse_unhashable(function: Callable[..., object], key: object) -> None:
    try:
        hash(key)
    except TypeError as error:
        raise TypeError(
            f"the arguments of {function.__qualname__} cannot be part of a cache key"
            f" ({error}): pass what can, or say key=..."
        ) from None
