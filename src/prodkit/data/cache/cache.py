"""The cache: answers from memory, loads once for everybody who asks meanwhile."""

from __future__ import annotations

import random as _random
from collections.abc import Awaitable, Callable, Hashable
from datetime import timedelta
from functools import partial
from math import inf
from typing import Generic, ParamSpec, Self, TypeVar

from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.data.cache.events import CacheStats
from prodkit.data.cache.flights import Flights
from prodkit.data.cache.freshness import changed, freshness
from prodkit.data.cache.loading import Loading
from prodkit.data.cache.memory import Entry, Memory
from prodkit.data.cache.negative import On, is_failure, negative_test
from prodkit.data.cache.reports import Listener, Reports
from prodkit.data.cache.shared import Fetched, Shared
from prodkit.data.cache.wrapping import Cached, wrapped
from prodkit.options import whole_number

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
P = ParamSpec("P")


class Cache(Generic[K, V]):
    """Keeps what a loader returns for `ttl` seconds, and loads a key once for all who ask.

    `value = await cache.get(key, load)`. The load runs in a task of its own: a caller that is
    cancelled disturbs nobody, and the last one to leave ends it. It runs in the context of whoever
    asked first, without the deadline of that call; where the answer depends on who asks, that must
    be part of the key. What the loader raises is raised to all who wait, and is not kept. Values
    are shared, not copied: do not change them.

    `max_size` entries are kept, the least recently used makes room (expired ones count until then).
    Up to the share `jitter` of a ttl is left off by chance, so that what was loaded together does
    not expire together. A None is kept for `negative_ttl` (not given: for `ttl`), and so are the
    errors that `negative_on` names, in this process only: the types, or the predicate, of those
    that are answers, "not found" say. For `stale` seconds after its ttl an old answer is still
    given at once while one load in the background renews it. For `stale_if_error` seconds it is
    given in place of a failure (`FAILURE_CODES` and rejections; "not found" is no failure).

    `shared` adds a second tier. `RefreshFailed`, `StaleServed` and `SharedTierFailed` are events of
    the call that is being answered; `listener` hears them too, with the key and the exception,
    which an event leaves out lest they end up in logs. A failed refresh that nobody hears of goes
    to the event loop's exception handler. `stats` counts. A cache with `stale` owns tasks: it is a
    component of a service (`resources=[cache]`), or `aclose` ends them.
    """

    def __init__(
        self,
        *,
        ttl: float | timedelta,
        max_size: int = 10_000,
        negative_ttl: float | timedelta | None = None,
        negative_on: On = (),
        stale: float | timedelta = 0.0,
        stale_if_error: float | timedelta = 0.0,
        jitter: float = 0.1,
        shared: Shared[K, V] | None = None,
        name: str = "cache",
        listener: Listener[K] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self.name = name
        self.stats = CacheStats()
        self._monotonic = clock.monotonic
        self._shared = shared
        self._reports: Reports[K] = Reports(name, self.stats, listener)
        self._is_answer = negative_test(negative_on)
        good = freshness(
            ttl=ttl,
            negative_ttl=negative_ttl,
            stale=stale,
            stale_if_error=stale_if_error,
            jitter=jitter,
            longest=inf if shared is None else shared.ttl,
        )
        self._memory: Memory[K, V] = Memory(max_size, good, random, self.stats)
        self._answers = self._memory.answers
        self._loading = Loading(shared, self._memory, self.stats, self._reports)
        self._flights: Flights[K, Fetched[V]] = Flights(
            loaded=self._loaded, failed=self._failed, lost=self._reports.refresh_failed, clock=clock
        )

    async def get(self, key: K, load: Callable[[K], Awaitable[V]]) -> V:
        """Return the kept answer for `key`, or what `load(key)` returns; raise what it raises.

        Raises UnavailableError where the load was cancelled from within.
        """
        entry = self._answers.get(key)
        if entry is not None and self._monotonic() < entry.fresh_until:
            self._answers.move_to_end(key)
            self.stats.hits += 1
            return entry.value
        return await self._absent(key, load)

    def fresh(self, key: K) -> Entry[V] | None:
        """Return the entry of a fresh answer, as a hit, or None: `get` without the await."""
        entry = self._answers.get(key)
        if entry is None or self._monotonic() >= entry.fresh_until:
            return None
        self._answers.move_to_end(key)
        self.stats.hits += 1
        return entry

    async def put(self, key: K, value: V) -> None:
        """Keep `value`, which is newer than what any load under way will return.

        Raises SharedTierError if the second tier did not take it: it may hold the old value, and
        this process keeps neither.
        """
        self._drop(key)
        if self._shared is not None:
            await self._shared.put(key, value, self._memory.lasts(value, self._shared.ttl))
            self._drop(key)  # what was read from there meanwhile
        self._memory.keep(key, value, self._monotonic())

    async def invalidate(self, key: K) -> None:
        """Forget the answer for `key`, in both tiers; what is being loaded now is not kept.

        Other processes go on with what they have in memory for up to `ttl`. Raises
        SharedTierError if the second tier did not hear it: it may hold the old value.
        """
        self._drop(key)
        if self._shared is not None:
            await self._shared.delete(key)
            self._drop(key)  # what was read from there meanwhile

    def clear(self) -> None:
        """Forget everything in this process; the second tier keeps what it has."""
        self._memory.clear()
        self._flights.detach_all()

    def wrap(self, *, key: Callable[P, K]) -> Callable[[Callable[P, Awaitable[V]]], Cached[P, V]]:
        """Return a decorator: an async function is asked only for what is not kept.

        Its signature stays; `key` is given its arguments. Functions around which one cache is put
        share its keys.
        """

        def decorate(function: Callable[P, Awaitable[V]]) -> Cached[P, V]:
            return wrapped(self, function, key)

        return decorate

    def reconfigure(
        self,
        *,
        ttl: float | timedelta | None = None,
        max_size: int | None = None,
        negative_ttl: float | timedelta | None = None,
        stale: float | timedelta | None = None,
        stale_if_error: float | timedelta | None = None,
        jitter: float | None = None,
    ) -> None:
        """Change options while running, all or none of those given; None keeps what is.

        Answers that are kept stay fresh for as long as they were promised to be.
        """
        memory = self._memory
        size = memory.max_size if max_size is None else whole_number("max_size", max_size)
        memory.freshness = changed(
            memory.freshness,
            ttl=ttl,
            negative_ttl=negative_ttl,
            stale=stale,
            stale_if_error=stale_if_error,
            jitter=jitter,
        )
        memory.max_size = size
        memory.make_room()

    async def start(self) -> None:
        """Open the cache; it may be opened again after it was closed."""
        self._flights.closed = False

    async def stop(self, grace: float) -> None:
        """Give the refreshes `grace` seconds, then close."""
        try:
            await self._flights.settle(grace)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """End the refreshes and await them; from now on nothing is loaded in the background.

        Loads that somebody waits for are theirs and go on, and the cache still answers.
        """
        await self._flights.aclose()

    async def _absent(self, key: K, load: Callable[[K], Awaitable[V]]) -> V:
        """Answer where nothing fresh is kept."""
        now, memory = self._monotonic(), self._memory
        kept = memory.error(key, now)
        if kept is not None:
            self.stats.hits += 1
            raise kept.with_traceback(None)
        start, stale = partial(self._loading, load), memory.freshness.stale
        old = memory.old(key, now, stale)
        if old is not None and not self._flights.closed:
            self.stats.stale += 1
            self._flights.refresh(key, start, stale)
            return old.value
        self.stats.misses += 1
        try:
            return (await self._flights.join(key, start)).value
        except Exception as error:
            old = self._instead(key, error)
            if old is None:
                raise
            return old.value

    def _instead(self, key: K, error: Exception) -> Entry[V] | None:
        """Return the old answer that may stand in for `error`, if there is one."""
        if not is_failure(error) or self._is_answer(error):
            return None
        memory = self._memory
        old = memory.old(key, self._monotonic(), memory.freshness.stale_if_error)
        if old is not None:
            self._reports.stale_served(key, error)
        return old

    def _loaded(self, key: K, fetched: Fetched[V]) -> None:
        self._memory.keep(key, fetched.value, self._monotonic(), longest=fetched.lasts)

    def _failed(self, key: K, error: Exception) -> None:
        if self._is_answer(error):
            self._memory.keep_error(key, error, self._monotonic())

    def _drop(self, key: K) -> None:
        self._memory.forget(key)
        self._flights.detach(key)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __len__(self) -> int:
        return len(self._memory)

    def __repr__(self) -> str:
        return f"Cache({self.name!r}, {self._memory.freshness!r}, {self._memory.max_size} at most)"
