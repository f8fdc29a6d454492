"""The rate limits of one process: a store that never waits and never grows beyond its bound."""

from __future__ import annotations

from collections import deque
from itertools import islice

from prodkit.options import whole_number
from prodkit.policies.rate_limiter.account import Account
from prodkit.policies.rate_limiter.gcra import Arrival, Rate
from prodkit.policies.rate_limiter.store import Answer, Limits

_SAMPLE = 8


class MemoryRateLimitStore:
    """Keeps the keys of one process that spent anything; also as `prodkit.stores.memory`.

    Each call looks at one key in turn, or two when it brings a new one, and forgets it if it is
    whole again. With `max_keys` there, a new key displaces, of the eight next in turn, the one
    closest to being whole: who is being held back is the last to be forgotten. A key with one Rate
    takes some 170 bytes.
    """

    __slots__ = ("_accounts", "_keys", "_whole_at", "max_keys")

    def __init__(self, *, max_keys: int = 100_000) -> None:
        whole_number("max_keys", max_keys)
        self.max_keys = max_keys
        self._whole_at: dict[str, int] = {}  # of a key with a single Rate, that is all there is
        self._accounts: dict[str, Account] = {}
        self._keys: deque[str] = deque()  # every key once; its head is next in turn

    async def take(
        self, key: str, limits: Limits, cost: int, now: int, patience: int = 0
    ) -> Answer:
        """Count a call of `key` if its limits admit it; see RateLimitStore. Never suspends."""
        known, keys = self._whole_at, self._keys
        found = known.get(key)
        if keys:
            head = keys[0]
            if known[head] > now:
                keys.rotate(-1)
            elif head != key:
                self._forget(keys.popleft())
            else:  # as good as forgotten, but it would be brought back at once
                self._accounts.pop(key, None)
                keys.rotate(-1)
        if found is None:
            self._make_room(now)
            keys.append(key)
            found = known[key] = now
        rate = limits[0]
        if type(rate) is not Rate or len(limits) > 1 or key in self._accounts:
            return self._take_from_account(key, limits, cost, now, patience)
        # GCRA as in Arrival, without one.
        ahead = cost * rate.interval
        if found > now:
            ahead += found - now
        wait = ahead - rate.tolerance
        if wait <= 0:
            known[key] = now + ahead
            return (now, 0, ahead)
        if wait <= patience:
            known[key] = now + ahead
            ahead = rate.tolerance
        return (now + wait, wait, ahead)

    async def give_back(self, key: str, limits: Limits, cost: int, answer: Answer) -> None:
        """Undo a `take` as far as nobody stands behind it."""
        account = self._accounts.get(key)
        if account is not None:
            if account.limits == limits:
                account.give_back(cost, answer)
                self._whole_at[key] = account.whole_at
        elif self._whole_at.get(key) == answer[0] + answer[2]:
            self._whole_at[key] -= cost * limits[0].interval

    def _take_from_account(
        self, key: str, limits: Limits, cost: int, now: int, patience: int
    ) -> Answer:
        account = self._accounts.get(key)
        if account is None:
            arrival = Arrival(limits[0], self._whole_at[key])
            account = self._accounts[key] = Account(limits, [arrival])
        elif account.limits is not limits:
            account = self._accounts[key] = Account(limits, account.meters)
        answer = account.take(cost, now, patience)
        self._whole_at[key] = account.whole_at
        return answer

    def _make_room(self, now: int) -> None:
        known, keys = self._whole_at, self._keys
        if keys and known[keys[0]] <= now:
            self._forget(keys.popleft())
        elif keys:
            keys.rotate(-1)
        if len(keys) >= self.max_keys:
            soonest = min(islice(keys, _SAMPLE), key=known.__getitem__)
            keys.remove(soonest)  # among the first eight, so it is found at once
            self._forget(soonest)
            keys.rotate(-_SAMPLE + 1)

    def _forget(self, key: str) -> None:
        del self._whole_at[key]
        self._accounts.pop(key, None)

    @property
    def size(self) -> int:
        """How many keys are kept."""
        return len(self._keys)
