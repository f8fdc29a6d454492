"""How long an answer is good for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import inf

from prodkit.clock import seconds
from prodkit.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """The times of a cache, checked, in seconds; `negative_ttl` None is as long as `ttl`.

    `longest` is what the tier behind it allows.
    """

    ttl: float
    negative_ttl: float | None
    stale: float
    stale_if_error: float
    jitter: float
    longest: float = inf

    @property
    def missing(self) -> float:
        """How long the answer that there is nothing is good for."""
        return self.ttl if self.negative_ttl is None else self.negative_ttl

    def lasts(self, ttl: float, chance: float) -> float:
        """Return `ttl` less its jitter, given `chance` from 0 to 1."""
        return ttl * (1.0 - self.jitter * chance)

    def __repr__(self) -> str:
        windows = {"stale": self.stale, "stale if error": self.stale_if_error}
        said = [f"ttl {self.ttl:g} s"]
        said += [f"{name} {window:g} s" for name, window in windows.items() if window]
        return ", ".join(said)


def freshness(
    *,
    ttl: float | timedelta,
    negative_ttl: float | timedelta | None,
    stale: float | timedelta,
    stale_if_error: float | timedelta,
    jitter: float,
    longest: float = inf,
) -> Freshness:
    """Check the options one by one; ConfigurationError names the one that cannot be."""
    if isinstance(jitter, bool) or not isinstance(jitter, int | float) or not 0 <= jitter < 1:
        raise ConfigurationError(f"jitter must be at least 0 and below 1, not {jitter!r}")
    length = seconds("ttl", ttl)
    if length > longest:
        raise ConfigurationError(
            f"ttl must not be above the {longest:g} s of the shared tier, not {ttl!r}"
        )
    return Freshness(
        ttl=length,
        negative_ttl=None if negative_ttl is None else seconds("negative_ttl", negative_ttl),
        stale=_window("stale", stale),
        stale_if_error=_window("stale_if_error", stale_if_error),
        jitter=float(jitter),
        longest=longest,
    )


def changed(
    old: Freshness,
    *,
    ttl: float | timedelta | None,
    negative_ttl: float | timedelta | None,
    stale: float | timedelta | None,
    stale_if_error: float | timedelta | None,
    jitter: float | None,
) -> Freshness:
    """Return `old` with what is not None put in its place, checked like the first."""
    return freshness(
        ttl=old.ttl if ttl is None else ttl,
        negative_ttl=old.negative_ttl if negative_ttl is None else negative_ttl,
        stale=old.stale if stale is None else stale,
        stale_if_error=old.stale_if_error if stale_if_error is None else stale_if_error,
        jitter=old.jitter if jitter is None else jitter,
        longest=old.longest,
    )


def _window(option: str, value: float | timedelta) -> float:
    length = value.total_seconds() if isinstance(value, timedelta) else value
    number = isinstance(length, int | float) and not isinstance(length, bool)
    if not number or not 0 <= length < inf:
        raise ConfigurationError(f"{option} must be a number of seconds, 0 for none, not {value!r}")
    return float(length)
