"""A lease in front of a shared store: most calls are admitted without asking it."""

from __future__ import annotations

from asyncio import Lock
from collections import OrderedDict
from datetime import timedelta
from math import inf

from prodkit.clock import seconds
from prodkit.options import implementation, whole_number
from prodkit.options import share as checked_share
from prodkit.policies.rate_limiter.limit import SECOND
from prodkit.policies.rate_limiter.refusal import quota
from prodkit.policies.rate_limiter.store import Answer, Limits, RateLimitStore


class LeasedRateLimitStore:
    """Takes permits from a shared store in advance, N at a time, and hands them out by itself.

    N is `share` (0.1) of what the smallest limit admits at once: one round trip in N calls, more as
    the key nears its limit. Permits not used within `hold` seconds (1.0) are gone.

    Its error, over the store alone. *Nothing beyond the limit is taken*: every admitted call holds
    a permit that the store counted, so from the start on never more are admitted than the store
    admits. *But they are used later than they were taken*: in any window P processes admit up to P
    x (N - 1) calls more than the limit says, and no more than the limit says of a window longer
    by `hold`. *And unused permits are lost for others*: up to N - 1 a process and key in every
    `hold` seconds. The RateLimit fields tell what the store said last, up to `hold` seconds ago.

    A refusal is remembered until the time that the store named, which is exact unless somebody
    gives a turn back. With `max_keys` kept, the key that asked longest ago loses its permits.
    """

    __slots__ = ("_hold", "_inner", "_leases", "_max_keys", "_share")

    def __init__(
        self,
        inner: RateLimitStore,
        *,
        share: float = 0.1,
        hold: float | timedelta = 1.0,
        max_keys: int = 100_000,
    ) -> None:
        checked_share("share", share)
        whole_number("max_keys", max_keys)
        self._inner = implementation("inner", inner, RateLimitStore)
        self._share = share
        self._hold = round(seconds("hold", hold) * SECOND)
        self._max_keys = max_keys
        self._leases: OrderedDict[str, _Lease] = OrderedDict()  # who asked longest ago comes first

    async def take(self, key: str, limits: Limits, cost: int, now: int, patience: int) -> Answer:
        """Use a permit at hand, or ask the store for more; see RateLimitStore."""
        lease = self._leases.get(key)
        if lease is None or lease.limits != limits:
            lease = self._open(key, limits, now)
        answer = lease.at_hand(cost, now, patience)
        if answer is not None:
            return answer
        if now >= lease.batch_from:
            async with lease.refilling:  # what one call takes in advance may do for the next
                answer = await self._refill(key, lease, cost, now, patience)
            if answer is not None:
                return answer
        answer = await self._inner.take(key, limits, cost, now, patience)
        if answer[1] > patience:
            lease.remember(answer, cost, now)
        return answer

    async def give_back(self, key: str, limits: Limits, cost: int, answer: Answer) -> None:
        """Hand it on: who waited had asked the store itself."""
        await self._inner.give_back(key, limits, cost, answer)

    async def _refill(
        self, key: str, lease: _Lease, cost: int, now: int, patience: int
    ) -> Answer | None:
        """Take permits in advance, `cost` of them for a call, or return None."""
        answer = lease.at_hand(cost, now, patience)
        if answer is not None or now < lease.batch_from:
            return answer
        self._leases.move_to_end(key)
        mine, lease.left = (lease.left if now < lease.until else 0), 0
        batch = max(lease.size, cost - mine)
        try:
            answer = await self._inner.take(key, lease.limits, batch, now, 0)
        except BaseException:
            lease.left += mine
            raise
        if answer[1]:
            lease.left += mine
            lease.batch_from = now + answer[1]
            return None
        lease.left += mine + batch - cost
        lease.until = now + self._hold
        lease.answer = answer
        return answer

    def _open(self, key: str, limits: Limits, now: int) -> _Lease:
        leases = self._leases
        for _ in range(2):  # as many as come may go
            if leases:
                oldest = next(iter(leases))
                if leases[oldest].until <= now or len(leases) >= self._max_keys:
                    del leases[oldest]
        lease = leases[key] = _Lease(limits, self._share)
        return lease


class _Lease:
    """The permits of one key that this process holds, and what the store said last."""

    __slots__ = (
        "_refused",
        "_refused_cost",
        "_refused_until",
        "answer",
        "batch_from",
        "left",
        "limits",
        "refilling",
        "size",
        "until",
    )

    def __init__(self, limits: Limits, share: float) -> None:
        self.limits = limits
        self.size = max(int(share * min(quota(limit) for limit in limits)), 1)
        self.left = 0
        self.until = 0
        self.answer: Answer = ()
        self.batch_from: float = 0 if self.size > 1 else inf
        self.refilling = Lock()
        self._refused: Answer = ()
        self._refused_cost = 0
        self._refused_until = 0

    def at_hand(self, cost: int, now: int, patience: int) -> Answer | None:
        """Answer without the store, if that can be done."""
        if cost <= self.left and now < self.until:
            self.left -= cost
            return self.answer
        wait = self._refused_until - now
        if self._refused and wait > patience and cost >= self._refused_cost:
            passed = self._refused[1] - wait
            ahead = (max(ahead - passed, 0) for ahead in self._refused[2:])
            return (self._refused[0], wait, *ahead)
        return None

    def remember(self, refused: Answer, cost: int, now: int) -> None:
        """Keep a refusal until the time at which the store would admit the call."""
        self._refused = refused
        self._refused_cost = cost
        self._refused_until = now + refused[1]
