"""Errors that are answers: which of them are kept, and which an old answer may stand in for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from prodkit.errors import FAILURE_CODES, ConfigurationError, RejectedError, code_of

On: TypeAlias = "type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]"


def negative_test(on: On) -> Callable[[Exception], bool]:
    """Return the predicate that `on` stands for; ConfigurationError says what it may be."""
    if isinstance(on, type | tuple):
        types = on if isinstance(on, tuple) else (on,)
        if all(isinstance(kind, type) and issubclass(kind, Exception) for kind in types):
            return lambda error: isinstance(error, types)
    elif callable(on):
        return on
    raise ConfigurationError(
        f"negative_on must be an exception type, a tuple of them or a predicate, not {on!r}"
    )


def is_failure(error: Exception) -> bool:
    """Say whether the callee did not answer: it failed, or a policy refused to ask it.

    "Not found" and "not permitted" are answers, and no old one may hide them.
    """
    return isinstance(error, RejectedError) or code_of(error) in FAILURE_CODES
