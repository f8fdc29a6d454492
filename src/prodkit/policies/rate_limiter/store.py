"""Where a limiter counts: the protocol that stores implement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from prodkit.policies.rate_limiter.gcra import Rate
from prodkit.policies.rate_limiter.sliding_log import SlidingLog

Limit: TypeAlias = Rate | SlidingLog
Limits: TypeAlias = tuple[Limit, ...]
#: (at, wait, ahead of the first limit, ahead of the second...), as RateLimitStore.take says.
Answer: TypeAlias = Sequence[int]


class RateLimitStore(Protocol):
    """Keeps what the keys spent of their limits, each place in `limits` by itself.

    All of a key is read and written in one step: for a shared store one round trip, one script,
    and the limits of a key in one hash slot. Times are whole nanoseconds. A store
    that answers or fails in a time of its own may say so by `answers_within` (seconds): it is asked
    without a timer. `prodkit.testing.conformance.check_rate_limit_store` checks an implementation.
    """

    async def take(self, key: str, limits: Limits, cost: int, now: int, patience: int) -> Answer:
        """Count `cost` in all `limits` of `key` at the first time at which all of them admit it.

        If that is more than `patience` away the call is refused, and nothing is counted anywhere.
        The answer is `(at, wait, *ahead)`: that time by the store's clock, how far away it is (0:
        go on; above `patience`: refused), and for each limit how far the key is ahead of time:
        at `at` with this call counted; of a refused call now, without it, or `tolerance` + the
        wait where it is this limit that refuses. What is left of a limit is therefore
        `(tolerance - ahead) // interval`.

        With `tat`, the theoretical arrival time kept for the key (none: long ago), a Rate admits at
        `max(tat, now) + cost * interval - tolerance` at the earliest, and `max(tat, at) + cost *
        interval` becomes the new `tat`; `ahead` is `tat - at`, 0 at least. A SlidingLog, with the
        stamps that are younger than `interval`, admits when at most `tolerance // interval - cost`
        of them are left, not before the last of them; `cost` stamps of `at` are added; `ahead` is
        `(n - 1) * interval` for its n stamps, and the time until the oldest of them leaves.

        `cost` is at least 1 and at most `tolerance // interval` of each limit. `now` is this
        process's monotonic clock; a store that processes share asks one clock for all of them
        instead. What was kept in a place by another algorithm, or in places beyond, is dropped.
        Raises UnavailableError where the store is away.
        """

    async def give_back(self, key: str, limits: Limits, cost: int, answer: Answer) -> None:
        """Undo a `take` whose call gave up before its turn, as far as nobody stands behind it.

        In a Rate: if `tat` is still `at + ahead`, back to what it was, or to `tat - cost *
        interval`. In a SlidingLog: up to `cost` stamps of `at` go from the end. Doing nothing is
        allowed: the turn stays empty.
        """
