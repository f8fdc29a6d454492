"""Rate limits that the processes of a fleet have together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, cast

from prodkit.policies.rate_limiter import Answer, Limit, Limits, SlidingLog
from prodkit.stores.redis.command import Word, name
from prodkit.stores.redis.connection import RedisConnection
from prodkit.stores.redis.script import Script

_MICROSECOND = 1000


class RedisRateLimitStore:
    """A RateLimitStore in Redis: one script and one round trip a call, however many limits.

    Redis's own clock stamps every call, so clients whose clocks differ admit nothing beyond the
    limits. A Rate is one number a key; a SlidingLog some 11 bytes for each call in its window. They
    expire as soon as they say nothing any more; let Redis evict nothing before (`maxmemory-policy
    noeviction`). Promised is what one primary promises: a fail-over to a replica, FLUSHALL or a
    restart without persistence forgets up to all that was counted. Should its clock be set back,
    keys are held up for as long as it was, at most.
    """

    __slots__ = ("_last", "_prefix", "_redis", "_take", "_take_rate", "_undo")

    def __init__(self, redis: RedisConnection, *, prefix: str = "prodkit:rate") -> None:
        self._prefix = f"{prefix}:{{"
        self._redis = redis
        self._take = Script(redis, "rate_limit")
        self._take_rate = Script(redis, "rate")
        self._undo = Script(redis, "rate_limit_undo")
        self._last: tuple[Limits, _Plan] = (), _plan(())

    @property
    def answers_within(self) -> float:
        """The seconds after which a call fails at the latest: the connection's."""
        return self._redis.timeout

    async def take(self, key: str, limits: Limits, cost: int, now: int, patience: int) -> Answer:
        """Count a call of `key` if its limits admit it; see RateLimitStore. `now` is ignored."""
        plan = self._last[1] if self._last[0] is limits else self._planned(limits)
        if len(limits) > 1 or plan.logs:
            keys = self._keys(key, plan)
            told = await self._take(len(keys), *keys, cost, patience, *plan.words)
            return _read(limits, cast("list[int | list[int]]", told))
        reply = await self._take_rate(1, self._name(key), cost, patience, *plan.words)
        answer = cast("list[int]", reply)
        answer[0] *= _MICROSECOND
        return answer

    async def give_back(self, key: str, limits: Limits, cost: int, answer: Answer) -> None:
        """Undo a `take` as far as nobody stands behind it."""
        plan = self._planned(limits)
        keys = self._keys(key, plan)
        words: list[Word] = [*plan.words]
        words[2::3] = answer[2:]
        await self._undo(len(keys), *keys, cost, answer[0] // _MICROSECOND, *words)

    def _planned(self, limits: Limits) -> _Plan:
        """Return the plan of `limits`, and expect them again: hashing them takes a while."""
        plan = _plan(limits)
        self._last = limits, plan
        return plan

    def _name(self, key: str) -> bytes:
        return name(f"{self._prefix}{key}}}")

    def _keys(self, key: str, plan: _Plan) -> list[bytes]:
        """Return the Redis keys of `key`, all in one hash slot."""
        name = self._name(key)
        return [name, *(name + suffix for suffix in plan.lists)]

    def __repr__(self) -> str:
        return f"RedisRateLimitStore({self._prefix[:-2]!r})"


class _Plan(NamedTuple):
    """What a script is told of some limits."""

    words: tuple[Word, ...]
    logs: tuple[int, ...]  # their places among the limits
    lists: tuple[bytes, ...]  # their keys' ends


@lru_cache(maxsize=1024)
def _plan(limits: Limits) -> _Plan:
    words: list[Word] = []
    for limit in limits:
        if isinstance(limit, SlidingLog):
            words += ("log", -(-limit.interval // _MICROSECOND), limit.limit)
        else:
            words += ("rate", limit.interval, limit.tolerance)
    logs = tuple(i for i, limit in enumerate(limits) if isinstance(limit, SlidingLog))
    return _Plan(tuple(words), logs, tuple(b":%d" % place for place in logs))


def _read(limits: Limits, told: list[int | list[int]]) -> Answer:
    at, *answer = (
        _ahead(limits[place - 2], part) if isinstance(part, list) else part
        for place, part in enumerate(told)
    )
    return [at * _MICROSECOND, *answer]


def _ahead(log: Limit, used: Sequence[int]) -> int:
    """Return a log's `ahead` from how many count and the time until the oldest of them leaves."""
    count, left = used
    if not count:
        return 0
    rounded_up = -log.interval % _MICROSECOND
    return (count - 1) * log.interval + max(left * _MICROSECOND - rounded_up, 0)
