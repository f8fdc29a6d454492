"""How a rate limiter says no."""

from __future__ import annotations

from collections.abc import Sequence

from prodkit.call import Call
from prodkit.errors import RateLimitedError, RejectedError, rejection
from prodkit.policies.rate_limiter.store import Answer, Limit, Limits

_MILLISECOND = 1_000_000
#: When it is worth another try with a store that is away.
_STORE_RETRY_AFTER = 1.0


def quota(limit: Limit) -> int:
    """Return how many calls may come at once."""
    return limit.tolerance // limit.interval


def retry_after(answer: Answer) -> float:
    """Return the seconds until `answer` would be another, whole milliseconds and never too few."""
    return -(-answer[1] // _MILLISECOND) / 1000


def rate_exceeded(
    call: Call, policy: str, limits: Limits, excesses: Sequence[str], answer: Answer
) -> RateLimitedError:
    """Return the refusal that `answer` means; it names the limit with the longest wait.

    `excesses` says of each limit, in words made beforehand, that it is exceeded.
    """
    slowest, longest = 0, answer[2] - limits[0].tolerance
    for place, limit in enumerate(limits[1:], 1):
        wait = answer[2 + place] - limit.tolerance
        if wait > longest:
            slowest, longest = place, wait
    limit = limits[slowest]
    return rejection(
        RateLimitedError,
        excesses[slowest],
        call,
        policy,
        answer[2 + slowest] / limit.interval,
        limit.tolerance // limit.interval,
        retry_after(answer),
    )


def too_costly(call: Call, policy: str, limits: Limits, cost: int) -> RateLimitedError:
    """Return the refusal of a call that no waiting helps."""
    limit = min(limits, key=quota)
    return RateLimitedError(
        f"the call counts as {cost} and can never be admitted by {limit}",
        call=call,
        policy=policy,
        measured=cost,
        threshold=quota(limit),
    )


def store_away(call: Call, policy: str, waited: float, timeout: float) -> RejectedError:
    """Return the refusal of a call that nobody could count, after `waited` seconds."""
    return RejectedError(
        "nobody can say whether the rate is kept: its store is away",
        call=call,
        policy=policy,
        measured=waited,
        threshold=timeout,
        retry_after=_STORE_RETRY_AFTER,
        reason="RATE_LIMIT_STORE_UNAVAILABLE",
    )
