"""Checks of options where they are given: each returns the value, or says what it must be.

All raise ConfigurationError with the option's name, the allowed range and the value given.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction, isfunction
from sys import float_info
from typing import Any, TypeVar

from prodkit.errors import ConfigurationError

_LARGEST = float_info.max  # a whole number may be larger still, and is no float then
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def function(option: str, value: F) -> F:
    """Return `value` if it is a function that answers at once: a coroutine is true, and no key."""
    if callable(value) and not any(map(iscoroutinefunction, (value, type(value).__call__))):
        return value
    raise ConfigurationError(f"{option} must be a plain function, not {value!r}")


def checked_name(value: str) -> str:
    """Return `value` if messages can call something by it."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"name must be a str that is not empty, not {value!r}")
    return value


def implementation(option: str, value: T, protocol: type) -> T:
    """Return `value` if it has every method of `protocol`; a class in place of an object has not.

    What a method takes and returns is for the type checker, and `prodkit.testing` for what it does.
    """
    needed = [each for each, kept in vars(protocol).items() if isfunction(kept) and each[0] != "_"]
    missing = [each for each in needed if not callable(getattr(value, each, None))]
    if missing or isinstance(value, type):
        raise ConfigurationError(
            f"{option} must be a {protocol.__name__}, an object with {', '.join(needed)}, "
            f"not {value!r}"
        )
    return value


def is_number(value: object) -> bool:
    """Say whether `value` is a number; a bool is one to Python, and nobody means it."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole_number(option: str, value: int, *, at_least: int = 1) -> int:
    """Return `value` if it is a whole number of at least `at_least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ConfigurationError(
            f"{option} must be a whole number of at least {at_least}, not {value!r}"
        )
    return value


def number(option: str, value: float, *, at_least: float = 0.0) -> float:
    """Return `value` if it is a finite number of at least `at_least`."""
    if not is_number(value) or not at_least <= value <= _LARGEST:
        least = f"{at_least:g}"
        raise ConfigurationError(f"{option} must be a number of {least} or more, not {value!r}")
    return float(value)


def factor(option: str, value: float) -> float:
    """Return `value` if it is a finite number above 1."""
    if not is_number(value) or not 1 < value <= _LARGEST:
        raise ConfigurationError(f"{option} must be a number above 1, not {value!r}")
    return float(value)


def share(option: str, value: float) -> float:
    """Return `value` if it is a part of a whole, and not nothing: above 0 and at most 1."""
    if not is_number(value) or not 0 < value <= 1:
        raise ConfigurationError(f"{option} must be above 0 and at most 1, not {value!r}")
    return float(value)


def probability(option: str, value: float) -> float:
    """Return `value` if it is 0 to 1."""
    if not is_number(value) or not 0 <= value <= 1:
        raise ConfigurationError(f"{option} must be 0 to 1, not {value!r}")
    return float(value)
