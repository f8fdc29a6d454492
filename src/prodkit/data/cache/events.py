"""What a cache says of itself: counts, and what went wrong without anybody being told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prodkit.errors import Code
from prodkit.events import Event


@dataclass(slots=True)
class CacheStats:
    """What happened since the start; the numbers only grow, so telemetry may read them at will.

    Every `get` is one of three: of `hits`, which had a fresh answer, kept errors included; of
    `stale`, which were given the old answer at once; of `misses`, which waited for a load.
    `stale_on_error` of the misses were given the old answer in the end. `loads` ran the loader, and
    `errors` of them failed. `shared_hits` came from the shared tier, `shared_errors` are its
    failures; `evictions` made room.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    stale_on_error: int = 0
    loads: int = 0
    errors: int = 0
    evictions: int = 0
    shared_hits: int = 0
    shared_errors: int = 0


@dataclass(frozen=True, slots=True)
class RefreshFailed(Event):
    """The load in the background failed; callers go on with the old answer while it lasts."""

    level: ClassVar[str] = "warning"

    code: Code


@dataclass(frozen=True, slots=True)
class StaleServed(Event):
    """A load failed with `code`, and its caller was given the old answer."""

    code: Code


@dataclass(frozen=True, slots=True)
class SharedTierFailed(Event):
    """The shared tier failed or took too long; the cache went on without it."""

    level: ClassVar[str] = "warning"

    operation: str
    code: Code
