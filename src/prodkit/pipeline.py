"""Composition: middlewares linked once, at start, around whatever a door calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from enum import Flag, auto
from functools import wraps
from inspect import isfunction
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from prodkit.call import CURRENT, Call, Kind
from prodkit.errors import ConfigurationError

P = ParamSpec("P")
T = TypeVar("T")
Next: TypeAlias = Callable[[Call], Awaitable[T]]


class Trait(Flag):
    """What a door must know of a middleware before it binds it (attribute `traits`, optional)."""

    NONE = 0
    REPEATS = auto()  #: may call `proceed` more than once: outbound, and declared safe or keyed
    REPLAYS = auto()  #: keeps and replays whole results: needs a codec, refuses streams
    NEEDS_PRINCIPAL = auto()
    GIVES_PRINCIPAL = auto()
    OBSERVES = auto()


class Middleware(Protocol):
    """Anything called with a call and the way on; a bare async function is one too."""

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        """Answer `call`, usually by awaiting `proceed(call)`."""


def traits_of(member: object) -> Trait:
    """Return what `member` declares of itself; undeclared is `Trait.NONE`."""
    declared = getattr(member, "traits", Trait.NONE)
    return declared if isinstance(declared, Trait) else Trait.NONE


class Pipeline:
    """Middlewares in order, outermost first; immutable, shareable between doors.

    Raises ConfigurationError where the order cannot work: a member that needs a principal with no
    authentication before it.
    """

    __slots__ = ("members", "traits")

    def __init__(self, *members: Middleware) -> None:
        for position, member in enumerate(members, 1):
            if not callable(member) or isinstance(member, type):
                raise ConfigurationError(f"member {position} is not a middleware: {member!r}")
        self.members = members
        self.traits = Trait.NONE
        for member in members:
            self.traits |= traits_of(member)

    def check(
        self,
        *,
        door: str,
        kind: Kind,
        replays: bool = False,
        streams: bool = False,
        principal: bool = False,
        repeatable: bool | None = None,
    ) -> None:
        """Refuse, at start, what this door cannot do.

        `replays`: the door has a codec. `streams`: what is bound is declared a stream.
        `principal`: the door authenticates by itself. `repeatable`: what the door knows of the
        operation before any call, None where each call says so itself.
        """
        given = principal
        for member in self.members:
            traits, name = traits_of(member), type(member).__name__
            if Trait.NEEDS_PRINCIPAL in traits and not given:
                raise ConfigurationError(
                    f"{door}: {name} is keyed by principal, so authentication must come before it; "
                    "or give it a key or scope of its own"
                )
            given = given or Trait.GIVES_PRINCIPAL in traits
            if Trait.REPEATS in traits:
                self._check_repeats(door, name, kind, streams=streams, repeatable=repeatable)
            if Trait.REPLAYS in traits and streams:
                raise ConfigurationError(f"{door}: {name} cannot keep the answer of a stream")
            if Trait.REPLAYS in traits and not replays:
                raise ConfigurationError(f"{door}: {name} needs a door that can keep answers")

    @staticmethod
    def _check_repeats(
        door: str, name: str, kind: Kind, *, streams: bool, repeatable: bool | None
    ) -> None:
        if kind in (Kind.SERVER, Kind.CONSUMER):
            raise ConfigurationError(f"{door}: {name} is for outbound calls only")
        if streams:
            raise ConfigurationError(f"{door}: {name} cannot repeat a stream")
        if repeatable is False:
            raise ConfigurationError(
                f"{door}: {name} would repeat an operation that is not declared safe; "
                "declare it (safe=True) or give it an idempotency key"
            )

    def bind(self, leaf: Next[T]) -> Next[T]:
        """Link the members around `leaf`; done once, so a call pays only for its members."""
        handler = leaf
        for member in reversed(self.members):
            handler = _link(member, handler)
        return handler

    @overload
    def __call__(
        self, function: Callable[P, Awaitable[T]], /
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...

    @overload
    def __call__(
        self,
        function: None = None,
        /,
        *,
        operation: str | None = None,
        safe: bool | None = None,
        key: Callable[..., str | None] | None = None,
    ) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]: ...

    def __call__(
        self,
        function: Callable[..., Awaitable[Any]] | None = None,
        /,
        *,
        operation: str | None = None,
        safe: bool | None = None,
        key: Callable[..., str | None] | None = None,
    ) -> Any:
        """Put the pipeline around an async function, whose signature is kept.

        `safe=True` declares that it may be repeated. `key` derives the idempotency key from the
        arguments; a call that has one may be repeated too.
        """

        def decorate(target: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
            return _decorate(self, target, operation, safe, key)

        return decorate if function is None else decorate(function)

    def __repr__(self) -> str:
        names = (getattr(m, "__name__", None) or repr(m) for m in self.members)
        return f"Pipeline({' -> '.join(names)})"


def _link(member: Middleware, proceed: Next[T]) -> Next[T]:
    run = member if isfunction(member) else member.__call__  # not looked up at every call
    return lambda call: run(call, proceed)


def _decorate(
    pipeline: Pipeline,
    target: Callable[..., Awaitable[Any]],
    operation: str | None,
    safe: bool | None,
    key: Callable[..., str | None] | None,
) -> Callable[..., Any]:
    name = operation or f"{target.__module__}.{target.__qualname__}"
    pipeline.check(
        door=f"function {name}",
        kind=Kind.INTERNAL,
        principal=True,
        repeatable=bool(safe) or key is not None,
    )

    def leaf(call: Call) -> Awaitable[Any]:
        args, kwargs = call.payload
        return target(*args, **kwargs)

    handler = pipeline.bind(leaf)

    @wraps(target)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        parent = CURRENT.get()
        call = Call(name, payload=(args, kwargs), safe=safe)
        if parent is not None:
            call.deadline = parent.deadline
            call.request_id = parent.request_id
            call.principal = parent.principal
        if key is not None:
            call.key = key(*args, **kwargs)
        return await handler(call)

    return guarded
