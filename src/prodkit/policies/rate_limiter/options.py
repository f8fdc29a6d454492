"""The options of a rate limiter, checked: what cannot work is refused at construction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, TypeAlias, get_args

from prodkit.clock import seconds
from prodkit.errors import ConfigurationError
from prodkit.policies.rate_limiter.gcra import Rate
from prodkit.policies.rate_limiter.limit import SECOND
from prodkit.policies.rate_limiter.sliding_log import SlidingLog
from prodkit.policies.rate_limiter.store import Limit, Limits

Rates: TypeAlias = Limit | Sequence[Limit]
Treatment: TypeAlias = Literal["local", "open", "closed"]


def checked_limits(rates: Sequence[Rates]) -> Limits:
    """Return the limits, given one by one or as a sequence."""
    listed = list(rates)
    if len(listed) == 1 and isinstance(listed[0], Sequence):
        listed = list(listed[0])
    limits = tuple(one for one in listed if isinstance(one, Rate | SlidingLog))
    if not limits or len(limits) < len(listed):
        raise ConfigurationError(
            f"rates must be one or several of Rate and SlidingLog, Rate(10, per=1.0) say, "
            f"not {', '.join(map(repr, listed)) or 'none'}"
        )
    return limits


def checked_wait(max_wait: float | timedelta) -> int:
    """Return `max_wait` in nanoseconds; 0 is allowed."""
    if max_wait == 0 and not isinstance(max_wait, bool):
        return 0
    return round(seconds("max_wait (or 0)", max_wait) * SECOND)


def checked_treatment(treatment: Treatment) -> Treatment:
    """Return `treatment` if there is such a one."""
    known = get_args(Treatment)
    if treatment not in known:
        raise ConfigurationError(f"on_store_failure must be one of {known}, not {treatment!r}")
    return treatment
