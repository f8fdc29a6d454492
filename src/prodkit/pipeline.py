"""Composition: middlewares linked once, at start, around whatever a door calls."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial, wraps
from inspect import (
    isasyncgenfunction,
    iscoroutinefunction,
    isfunction,
    isgeneratorfunction,
    ismethod,
    unwrap,
)
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from prodkit.call import CURRENT, Call, Kind
from prodkit.checks import Doorway, Finding, Severity, review
from prodkit.errors import ConfigurationError
from prodkit.options import function
from prodkit.traits import Trait, traits_of

P = ParamSpec("P")
T = TypeVar("T")
Next: TypeAlias = Callable[[Call], Awaitable[T]]


#: For a look at the order alone: a door that can do everything.
ANY_DOOR = Doorway(
    "any door",
    Kind.INTERNAL,
    replays=True,
    substitutes=True,
    principal=True,
    hosts=True,
    repeatable=True,
)


def log_doubt(door: Doorway, finding: Finding) -> None:
    """Log a doubt as a warning; once, at start."""
    logging.getLogger(__name__).warning("%s: %s", door.name, finding)


class Middleware(Protocol):
    """Anything called with a call and the way on; a bare async function is one too."""

    def __call__(self, call: Call, proceed: Next[T], /) -> Awaitable[T]:
        """Answer `call`, usually by awaiting `proceed(call)`."""


class Pipeline:
    """Middlewares in order, outermost first; immutable, shareable between doors.

    `check` says what is wrong with the order. A door that binds a pipeline refuses its faults with
    ConfigurationError and hands its doubts to `on_doubt`, which logs a warning by default; let it
    raise to refuse them too. `repr` draws the members and their options.
    """

    __slots__ = ("_doubted", "_on_doubt", "members", "traits")

    def __init__(
        self, *members: Middleware, on_doubt: Callable[[Doorway, Finding], None] = log_doubt
    ) -> None:
        for position, member in enumerate(members, 1):
            if not callable(member) or isinstance(member, type):
                raise ConfigurationError(f"member {position} is not a middleware: {member!r}")
            if not isinstance(getattr(member, "traits", Trait.NONE), Trait):
                raise ConfigurationError(
                    f"member {position}: the attribute traits of {member!r} must be a Trait"
                )
            if isinstance(member, Pipeline):
                raise ConfigurationError(
                    f"member {position} is a Pipeline itself: give its members, *pipeline.members"
                )
        self.members = members
        self._on_doubt = on_doubt
        self._doubted: set[Finding] = set()
        self.traits = Trait.NONE
        for member in members:
            self.traits |= traits_of(member)

    def check(self, door: Doorway = ANY_DOOR) -> list[Finding]:
        """Return what is wrong with the members and their order at `door`: faults, then doubts."""
        return review(self.members, door)

    def admit(self, door: Doorway) -> None:
        """Doors call this at start: raise ConfigurationError for faults, tell doubts once each.

        A member that observes is shown the others, if it has a method `watch` for that.
        """
        findings = self.check(door)
        faults = [str(finding) for finding in findings if finding.severity is Severity.FAULT]
        if faults:
            raise ConfigurationError(f"{door.name}: {'; '.join(faults)}")
        for finding in findings:
            if finding not in self._doubted:
                self._doubted.add(finding)
                self._on_doubt(door, finding)
        for member in self.members:
            if Trait.OBSERVES in traits_of(member) and hasattr(member, "watch"):
                member.watch(self.members)

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
        return "\n".join(["Pipeline", *(f"  -> {name}" for name in names)])


def admit(pipeline: Pipeline, door: Doorway) -> None:
    """Doors call this at start: `pipeline.admit`, and a word to who left the Pipeline out."""
    if not isinstance(pipeline, Pipeline):
        raise ConfigurationError(
            f"{door.name}: pipeline must be a Pipeline, Pipeline({pipeline!r}) say, "
            f"not {pipeline!r} by itself"
        )
    pipeline.admit(door)


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
    _check_target(target)
    if key is not None:
        function("key", key)
    if safe is not None and not isinstance(safe, bool):
        raise ConfigurationError(f"safe must be True, False or None, not {safe!r}")
    name = operation or _name_of(target)
    pipeline.admit(
        Doorway(
            f"function {name}",
            Kind.INTERNAL,
            substitutes=True,
            principal=True,
            repeatable=bool(safe) or key is not None,
        )
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


def _name_of(target: Callable[..., object]) -> str:
    """Return where a function is from; of a partial what it calls, of an object its class."""
    while isinstance(target, partial):
        target = target.func
    named = target if hasattr(target, "__qualname__") else type(target)
    return f"{named.__module__}.{named.__qualname__}"


def _check_target(target: Callable[..., Awaitable[Any]]) -> None:
    """Refuse what cannot be awaited, before a call finds out."""
    if not callable(target) or isinstance(target, type):
        raise ConfigurationError(f"a pipeline goes around an async function, not {target!r}")
    inner = unwrap(target)
    name = getattr(target, "__qualname__", repr(target))
    if isasyncgenfunction(inner) or isgeneratorfunction(inner):
        raise ConfigurationError(
            f"{name} is a generator: a pipeline goes around a function that returns once; put it "
            "around what opens the stream, or around each of its steps"
        )
    plain = isfunction(inner) or ismethod(inner)
    if plain and not iscoroutinefunction(inner) and not _promises(inner):
        raise ConfigurationError(
            f"{name} is no `async def`; if what it returns can be awaited, annotate that "
            "(-> Awaitable[...])"
        )


def _promises(function: Callable[..., object]) -> bool:
    """Say whether a plain function is annotated to return what can be awaited."""
    returned = str(getattr(function, "__annotations__", {}).get("return", ""))
    return any(word in returned for word in ("Awaitable", "Coroutine", "Future", "Task"))
