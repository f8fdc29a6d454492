"""The policy: asks a store, and lets a call through, wait, or go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import NoReturn, TypeAlias, TypeVar

from prodkit.call import Call, Kind
from prodkit.clock import SYSTEM_CLOCK, Clock, checked_clock, seconds
from prodkit.errors import ConfigurationError, InternalError, ServiceError
from prodkit.options import function, implementation
from prodkit.pipeline import Next
from prodkit.policies.rate_limiter import options
from prodkit.policies.rate_limiter.events import RateDelayed, RateExceeded, RateStoreFailed
from prodkit.policies.rate_limiter.fields import Fields
from prodkit.policies.rate_limiter.guard import Guard, StoreAwayError
from prodkit.policies.rate_limiter.keys import by_principal
from prodkit.policies.rate_limiter.limit import SECOND, check_name
from prodkit.policies.rate_limiter.memory import MemoryRateLimitStore
from prodkit.policies.rate_limiter.options import Rates, Treatment
from prodkit.policies.rate_limiter.refusal import (
    quota,
    rate_exceeded,
    retry_after,
    store_away,
    too_costly,
)
from prodkit.policies.rate_limiter.store import Answer, Limits, RateLimitStore
from prodkit.traits import Trait

T = TypeVar("T")
#: What a store is asked: key, limits, cost, now and patience.
Question: TypeAlias = tuple[str, Limits, int, int, int]
_SERVER = Kind.SERVER  # an Enum's attributes are slow to reach


class RateLimiter:
    """Refuses the calls of a key that come faster than its rates, with RateLimitedError.

        RateLimiter(Rate(100, per=1.0), SlidingLog(5000, per=3600), key=by_client)

    With several rates a call is admitted if all of them admit it, and counts in all or in none; the
    refusal names the one with the longest wait. Its `retry_after` is never shorter than that. Every
    answer of a server carries the fields of draft-ietf-httpapi-ratelimit-headers-10
    (`fields=False`: none); each rate stands in them by its `name`, a single one by the limiter's.

    `key` says whose calls count together. `cost` says how much a call counts: a whole number, 1
    without it; 0 is free, and more than a rate's burst is refused without `retry_after`, since no
    waiting helps.

    `max_wait` (seconds, 0 by default: refuse at once, since who waits holds memory) lets a call
    wait for its turn, in order of arrival; what could not be served within it, or before
    `call.deadline`, is refused at once. Who gives up gives its turn back unless somebody stands
    behind it already. As many wait per key as its rate serves in `max_wait`.

    `on_store_failure` says what happens when the store fails, or hangs for `store_timeout` seconds:
    "local" (the default) counts in this process alone, so that a fleet admits at most its size
    times the rate; "open" lets calls through uncounted; "closed" refuses them with UNAVAILABLE, for
    routes where a guess too many is worse than an outage (passwords, vouchers).

    Limiters that share a store need names of their own; one limiter at several doors is one budget.
    """

    __slots__ = (
        "_clock",
        "_cost",
        "_excesses",
        "_fields",
        "_fields_for",
        "_key",
        "_limits",
        "_local",
        "_max_wait",
        "_monotonic",
        "_most",
        "_policy",
        "_prefix",
        "_store",
        "_store_timeout",
        "_take",
        "_treatment",
        "name",
        "traits",
    )

    def __init__(
        self,
        *rates: Rates,
        key: Callable[[Call], str] = by_principal,
        cost: Callable[[Call], int] | None = None,
        max_wait: float | timedelta = 0.0,
        store: RateLimitStore | None = None,
        on_store_failure: Treatment = "local",
        store_timeout: float | timedelta = 0.1,
        name: str = "default",
        fields: bool = True,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        check_name(name)
        self.name = name
        self._policy = f"rate_limiter {name}"
        self._prefix = f"{name}:"
        self._key = function("key", key)
        self._fields_for = _SERVER if fields else None
        self._clock = checked_clock(clock)
        self._monotonic = clock.monotonic
        self._store_timeout = seconds("store_timeout", store_timeout)
        self._local = MemoryRateLimitStore()
        self._store: RateLimitStore = self._local
        if store is not None:
            self._store = implementation("store", store, RateLimitStore)
        if type(self._store) is not MemoryRateLimitStore:  # that one neither fails nor hangs
            self._store = Guard(self._store, self._store_timeout, clock)
        self._take = self._store.take
        self._limits: Limits = options.checked_limits(rates)
        self._cost: Callable[[Call], int] | None = None
        self._max_wait = 0
        self.reconfigure(cost=cost, max_wait=max_wait, on_store_failure=on_store_failure)

    def reconfigure(
        self,
        *,
        rates: Rates | None = None,
        cost: Callable[[Call], int] | None = None,
        max_wait: float | timedelta | None = None,
        on_store_failure: Treatment | None = None,
    ) -> None:
        """Change options while calls come; None keeps one, and nothing changes if one is wrong.

        Counts stay: each rate takes over what the one in its place counted, if both are Rate or
        both SlidingLog. A Rate keeps time, not calls: a key that had spent half a minute ahead of
        itself has spent half a minute under the new rate too, however many calls that is there, and
        with a burst worth less than that is refused until it is within it. A SlidingLog keeps
        stamps: a longer window sees the calls that the shorter one still knew.
        """
        limits = self._limits if rates is None else options.checked_limits([rates])
        fields = Fields(self.name, limits)
        if cost is not None:
            function("cost", cost)
        patience = self._max_wait if max_wait is None else options.checked_wait(max_wait)
        if on_store_failure is not None:
            self._treatment = options.checked_treatment(on_store_failure)
        self._limits, self._fields = limits, fields
        self._excesses = [f"more than {limit}" for limit in limits]
        self._most = min(map(quota, limits))
        self._cost = self._cost if cost is None else cost
        self._max_wait = patience
        self.traits = Trait.QUEUES if patience else Trait.NONE
        if self._key is by_principal:
            self.traits |= Trait.NEEDS_PRINCIPAL

    @property
    def rates(self) -> Limits:
        """The rates in force."""
        return self._limits

    @property
    def longest_wait(self) -> float:
        """The seconds that a call waits for its turn at most."""
        return self._max_wait / SECOND

    def __repr__(self) -> str:
        waits = f", waits {self.longest_wait:g} s" if self._max_wait else ""
        return f"RateLimiter({self.name!r}, {', '.join(map(str, self._limits))}{waits})"

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        """Pass `call` on if its key has something left, perhaps after a wait; refuse it if not."""
        limits, fields = self._limits, self._fields
        now = round(self._monotonic() * SECOND)
        try:
            key = self._prefix + self._key(call)
        except Exception as error:
            raise self._without_key(error) from error
        cost, patience = 1, 0
        if self._cost is not None:
            cost = self._price(call, self._cost)
            if not cost:
                return await proceed(call)
        if self._max_wait:
            patience = self._patience(call, now)
        try:
            answer = await self._take(key, limits, cost, now, patience)
        except StoreAwayError as error:
            answer = await self._without_store(call, error, (key, limits, cost, now, patience))
        if answer[1]:
            if answer[1] <= patience:
                await self._turn(call, key, limits, cost, answer)
            else:
                self._refuse(call, limits, fields, answer)
        if call.kind is self._fields_for:
            fields.annotate(call, answer)
        return await proceed(call)

    def _without_key(self, error: Exception) -> Exception:
        if isinstance(error, ServiceError | ConfigurationError):
            return error
        return InternalError(f"{self._policy}: its key function gave no key")

    def _price(self, call: Call, price: Callable[[Call], int]) -> int:
        cost = price(call)
        if type(cost) is not int or cost < 0:
            raise ConfigurationError(
                f"{self._policy}: cost must return a whole number from 0 on, not {cost!r}"
            )
        if cost > self._most:
            call.emit(RateExceeded(self._policy, None))
            raise too_costly(call, self._policy, self._limits, cost)
        return cost

    def _patience(self, call: Call, now: int) -> int:
        if call.deadline is None:
            return self._max_wait
        return max(min(self._max_wait, round(call.deadline * SECOND) - now), 0)

    async def _turn(self, call: Call, key: str, limits: Limits, cost: int, answer: Answer) -> None:
        """Wait for the turn that was reserved."""
        delay = answer[1] / SECOND
        call.emit(RateDelayed(self._policy, delay))
        try:
            await self._clock.sleep(delay)
        except BaseException:
            await self._store.give_back(key, limits, cost, answer)
            raise

    def _refuse(self, call: Call, limits: Limits, fields: Fields, answer: Answer) -> NoReturn:
        if call.kind is self._fields_for:
            fields.annotate(call, answer)
        if call.listener is not None:
            call.emit(RateExceeded(self._policy, retry_after(answer)))
        raise rate_exceeded(call, self._policy, limits, self._excesses, answer)

    async def _without_store(self, call: Call, error: StoreAwayError, question: Question) -> Answer:
        """Do what `on_store_failure` says."""
        call.emit(RateStoreFailed(self._policy, self._treatment, error.message))
        _, limits, _, now, _ = question
        if self._treatment == "local":
            return await self._local.take(*question)
        if self._treatment == "closed":
            waited = self._monotonic() - now / SECOND
            raise store_away(call, self._policy, waited, self._store_timeout) from error
        return (now, 0, *(0 for _ in limits))
