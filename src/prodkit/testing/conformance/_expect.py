"""What the checks share: how they are told the time, and how they say what is broken."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import TypeAlias

Now: TypeAlias = Callable[[], float]
Advance: TypeAlias = Callable[[float], Awaitable[None]]


def expect(condition: bool, promise: str) -> None:
    """Raise AssertionError, saying which promise is broken, unless `condition` holds."""
    if not condition:
        raise AssertionError(f"the store breaks a promise: {promise}")


def fresh() -> str:
    """Return a key that no store has seen."""
    return f"conformance-{secrets.token_hex(16)}"
