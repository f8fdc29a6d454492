"""The first tier: the answers and the errors that one process keeps, and for how long."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from math import inf
from typing import Generic, TypeVar

from prodkit.data.cache.events import CacheStats
from prodkit.data.cache.freshness import Freshness
from prodkit.options import whole_number

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Entry(Generic[V]):
    """An answer, and the reading of the clock up to which it is fresh."""

    __slots__ = ("fresh_until", "value")

    def __init__(self, value: V, fresh_until: float) -> None:
        self.value = value
        self.fresh_until = fresh_until


class Memory(Generic[K, V]):
    """At most `max_size` answers and as many errors, in the order of their last use.

    A key has an answer or an error, never both. Whoever finds an answer in `answers` moves it to
    their end.
    """

    __slots__ = ("_random", "_stats", "answers", "errors", "freshness", "max_size")

    def __init__(
        self, max_size: int, freshness: Freshness, random: Callable[[], float], stats: CacheStats
    ) -> None:
        self.max_size = whole_number("max_size", max_size)
        self.freshness = freshness
        self.answers: OrderedDict[K, Entry[V]] = OrderedDict()
        self.errors: OrderedDict[K, Entry[Exception]] = OrderedDict()
        self._random = random
        self._stats = stats

    def lasts(self, value: V, ttl: float) -> float:
        """Return how long `value` is good for where an answer is good for `ttl`."""
        good = self.freshness
        return good.lasts(min(ttl, good.missing) if value is None else ttl, self._random())

    def keep(self, key: K, value: V, now: float, *, longest: float = inf) -> None:
        """Keep an answer, for `longest` at most."""
        self.errors.pop(key, None)
        lasts = min(self.lasts(value, self.freshness.ttl), longest)
        self.answers[key] = Entry(value, now + lasts)
        self.answers.move_to_end(key)
        self.make_room()

    def keep_error(self, key: K, error: Exception, now: float) -> None:
        """Keep an error that is an answer."""
        self.answers.pop(key, None)
        lasts = self.freshness.lasts(self.freshness.missing, self._random())
        self.errors[key] = Entry(error, now + lasts)
        self.errors.move_to_end(key)
        self.make_room()

    def error(self, key: K, now: float) -> Exception | None:
        """Return the error that is kept for `key`."""
        entry = self.errors.get(key)
        if entry is None or now >= entry.fresh_until:
            return None
        self.errors.move_to_end(key)
        return entry.value

    def old(self, key: K, now: float, window: float) -> Entry[V] | None:
        """Return the answer that was fresh within the last `window` seconds; None is no answer."""
        entry = self.answers.get(key)
        if entry is None or entry.value is None or now >= entry.fresh_until + window:
            return None
        self.answers.move_to_end(key)
        return entry

    def forget(self, key: K) -> None:
        """Forget what is kept for `key`."""
        self.answers.pop(key, None)
        self.errors.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self.answers.clear()
        self.errors.clear()

    def make_room(self) -> None:
        """Let the least recently used go, down to `max_size`."""
        for entries in (self.answers, self.errors):
            while len(entries) > self.max_size:
                entries.popitem(last=False)
                self._stats.evictions += 1

    def __len__(self) -> int:
        return len(self.answers) + len(self.errors)
