"""Login attempts: limited before a password is hashed, since a hash costs 50 ms of processor."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.data.cache.store import CacheStore
from prodkit.errors import Code, ServiceError, UnavailableError
from prodkit.policies.rate_limiter import MemoryRateLimitStore, Rate, RateLimitStore

#: Seconds for which it is remembered where an owner signed in from.
_MEMORY: Final = 90 * 86_400.0


class Attempts:
    """Allows so many attempts a minute for each account, and for each address.

    An address from which the account was signed in to before has an allowance of its own, so that
    whoever guesses at an account from elsewhere does not lock its owner out.

    Counts are kept in `rates`, known addresses in `known`; neither learns who it is about. While
    `rates` is away each process counts by itself, while `known` is away nobody is known.
    """

    def __init__(
        self,
        *,
        account: Rate,
        address: Rate,
        rates: RateLimitStore,
        known: CacheStore,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._account = account
        self._address = address
        self._rates = rates
        self._known = known
        self._alone = MemoryRateLimitStore()
        self._clock = clock

    async def admit(self, account: str, address: str) -> None:
        """Count an attempt; RESOURCE_EXHAUSTED where there were too many."""
        await self._take(_key("address", address), self._address)
        if await self._is_owner(account, address):
            await self._take(_key("account", account, address), self._account)
        else:
            await self._take(_key("account", account), self._account)

    async def succeeded(self, account: str, address: str) -> None:
        """Remember where the owner signs in from."""
        try:
            await self._known.set(_key("owner", account, address), b"1", ttl=_MEMORY)
        except UnavailableError:
            return  # then from the next time on

    async def _is_owner(self, account: str, address: str) -> bool:
        try:
            return await self._known.get(_key("owner", account, address)) is not None
        except UnavailableError:
            return False

    async def _take(self, key: str, rate: Rate) -> None:
        question = key, (rate,), 1, round(self._clock.monotonic() * 1e9), 0
        try:
            _, wait, *_ = await self._rates.take(*question)
        except UnavailableError:
            _, wait, *_ = await self._alone.take(*question)
        if wait:
            raise TooManyAttemptsError(
                "too many attempts to sign in, wait a little", retry_after=wait / 1e9
            )


def _key(kind: str, *who: str) -> str:
    """Return a key of fixed length that names nobody."""
    return f"login:{kind}:{blake2b(repr(who).encode(), digest_size=16).hexdigest()}"


class TooManyAttemptsError(ServiceError):
    """An account, or an address, tries too often."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "TOO_MANY_ATTEMPTS"
