"""How a command is told to Redis."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import TypeAlias, cast

import hiredis

Word: TypeAlias = str | bytes | int | float

#: Return a command's words as they go over the wire.
pack = cast("Callable[[tuple[Word, ...]], bytes]", hiredis.pack_command)


def milliseconds(seconds: float) -> int:
    """Return `seconds` as Redis counts them, at least one millisecond."""
    return max(ceil(seconds * 1000), 1)


def name(text: str) -> bytes:
    """Return a key's bytes; keys come from headers and need not be proper Unicode."""
    return text.encode("utf-8", "surrogatepass")
