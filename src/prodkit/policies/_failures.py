"""Which failures a policy answers to: what an option `on` names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import iscoroutinefunction
from typing import TypeAlias

from prodkit.call import Call
from prodkit.errors import Code, ConfigurationError

Predicate: TypeAlias = Callable[[Call, Exception | None], bool]
On: TypeAlias = "type[Exception] | Code | Predicate | Iterable[type[Exception] | Code]"
#: A predicate, or none and the exception types and codes that were named.
Named: TypeAlias = tuple[Predicate | None, tuple[type[Exception], ...], frozenset[Code]]


def named_by(on: On) -> Named:
    """Return what `on` names; ConfigurationError for what names no failure."""
    if callable(on) and not isinstance(on, type):
        if iscoroutinefunction(on):
            raise ConfigurationError(f"on must be a plain function, not the async one {on!r}")
        return on, (), frozenset()
    named: list[object] = [on]
    if isinstance(on, Iterable) and not isinstance(on, (type, Code)):
        named = list(on)
    types = tuple(n for n in named if isinstance(n, type) and issubclass(n, Exception))
    codes = frozenset(n for n in named if isinstance(n, Code)) - {Code.OK, Code.CANCELLED}
    if not named or not all(n in types or (isinstance(n, Code) and n in codes) for n in named):
        raise ConfigurationError(
            "on must be exception types, codes other than OK and CANCELLED, or a predicate, "
            f"not {on!r}"
        )
    return None, types, codes


def shown(named: Named) -> str:
    """Return what was named in a few words, for a drawing."""
    predicate, types, codes = named
    if predicate is not None:
        return getattr(predicate, "__name__", "a predicate")
    return ", ".join([*(code.name for code in sorted(codes)), *(kind.__name__ for kind in types)])
