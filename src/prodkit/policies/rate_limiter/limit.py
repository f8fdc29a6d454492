"""What every limit has in common: exact units, checked options, and a meter for each key."""

from __future__ import annotations

import re
from typing import Protocol

from prodkit.errors import ConfigurationError

SECOND = 1_000_000_000
#: What a structured field string may hold (RFC 9651) without escapes.
_NAME = re.compile(r"[ !#-\[\]-~]+")


class Units(Protocol):
    """A limit in whole nanoseconds: `interval` for each call, `tolerance` for all at once."""

    @property
    def interval(self) -> int:
        """What one call costs."""

    @property
    def tolerance(self) -> int:
        """How far ahead of time a key may be; a multiple of `interval`."""


class Meter(Protocol):
    """What one limit knows of one key; times are nanoseconds and `now` never goes back.

    How far a key is ahead of time says how much it has left: `(tolerance - ahead) // interval`.
    """

    limit: Units
    whole_at: int  #: when nothing will be left to remember

    def wait(self, cost: int, now: int) -> int:
        """Return how long until `cost` may be spent; 0 is now."""

    def spend(self, cost: int, at: int) -> int:
        """Count `cost` at the time `at`; return how far ahead of it the key is then."""

    def ahead(self, now: int) -> int:
        """Return how far ahead of `now` the key is."""

    def give_back(self, cost: int, at: int, ahead: int) -> None:
        """Undo a `spend` at `at` that returned `ahead`, if it was the last."""


def check_name(value: str) -> None:
    """Raise ConfigurationError unless `value` can stand in a header as it is."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ConfigurationError(
            f"name must be printable ASCII without quotes and backslashes, not {value!r}"
        )
