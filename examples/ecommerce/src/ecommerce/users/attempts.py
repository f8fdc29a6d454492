"""Login attempts: limited before a password is hashed, since a hash costs 50 ms of processor."""

from __future__ import annotations

from collections import OrderedDict

from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.errors import Code, ServiceError
from prodkit.policies.rate_limiter import MemoryRateLimitStore, Rate


class Attempts:
    """Allows so many attempts a minute for each account, and for each address.

    An address from which the account was signed in to before has an allowance of its own, so that
    whoever guesses at an account from elsewhere does not lock its owner out.
    """

    def __init__(
        self,
        *,
        account: Rate,
        address: Rate,
        capacity: int = 100_000,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._account = account
        self._address = address
        self._store = MemoryRateLimitStore(max_keys=capacity)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._capacity = capacity
        self._clock = clock

    async def admit(self, account: str, address: str) -> None:
        """Count an attempt; RESOURCE_EXHAUSTED where there were too many."""
        await self._take(f"address {address}", self._address)
        owner = (account, address) in self._known
        key = f"account {account} at {address}" if owner else f"account {account}"
        await self._take(key, self._account)

    def succeeded(self, account: str, address: str) -> None:
        """Remember where the owner signs in from."""
        self._known[account, address] = None
        self._known.move_to_end((account, address))
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)

    async def _take(self, key: str, rate: Rate) -> None:
        now = round(self._clock.monotonic() * 1e9)
        _, wait, *_ = await self._store.take(key, (rate,), 1, now)
        if wait:
            raise TooManyAttemptsError(
                "too many attempts to sign in, wait a little", retry_after=wait / 1e9
            )


class TooManyAttemptsError(ServiceError):
    """An account, or an address, tries too often."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "TOO_MANY_ATTEMPTS"
