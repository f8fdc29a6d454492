"""How a rate limiter says no."""

from __future__ import annotations

from prodkit.call import Call
from prodkit.errors import RateLimitedError, RejectedError
from prodkit.policies.rate_limiter.store import Answer, Limit, Limits

_MILLISECOND = 1_000_000
#: When it is worth another try with a store that is away.
_STORE_RETRY_AFTER = 1.0


def quota(limit: Limit) -> int:
    """Return how many calls may come at once."""
    return limit.tolerance // limit.interval


def rate_exceeded(call: Call, policy: str, limits: Limits, answer: Answer) -> RateLimitedError:
    """Return the refusal that `answer` means; it names the limit with the longest wait."""
    excesses = [ahead - limit.tolerance for limit, ahead in zip(limits, answer[2:], strict=True)]
    slowest = excesses.index(max(excesses))
    limit, ahead = limits[slowest], answer[2 + slowest]
    return RateLimitedError(
        f"more than {limit}",
        call=call,
        policy=policy,
        measured=ahead / limit.interval,
        threshold=quota(limit),
        retry_after=-(-answer[1] // _MILLISECOND) / 1000,
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
