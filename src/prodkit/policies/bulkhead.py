"""Bulkhead: what one dependency may hold of this process at once, and how many may wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import TypeVar

from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock, checked_clock, seconds
from prodkit.errors import BulkheadFullError, ConfigurationError
from prodkit.events import Event
from prodkit.options import checked_name, function, whole_number
from prodkit.pipeline import Next
from prodkit.policies._places import Places
from prodkit.traits import Trait

T = TypeVar("T")

_QUEUES, _HOLDS = Trait.HOLDS | Trait.QUEUES, Trait.HOLDS


@dataclass(frozen=True, slots=True)
class BulkheadRejected(Event):
    """A call did not run: there was no room, or its wait of `waited` seconds ran out."""

    running: int
    waiting: int
    waited: float
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class CallWaited(Event):
    """A call got its place after `waited` seconds in the queue."""

    waited: float


class Bulkhead:
    """Lets at most `limit` calls run at once and `queue` more wait; one object a dependency.

    What hangs then holds `limit` places and not the whole process. Who waits gets a place in the
    order of arrival, never after a newcomer, for `max_wait` seconds and until `call.deadline` at
    most; a waiter that is cancelled with its place already in hand passes it on. A call that finds
    no room, or none in time, did not run: BulkheadFullError, whose `retry_after` says how long it
    took after earlier refusals until a place was free (None before that was ever seen).

    By default nothing waits (`queue=0`): a queue makes slow callers of a slow dependency; it is for
    bursts. `queue=None` is unbounded: then `max_wait`, or a Deadline outside, is what bounds it.
    Without `max_wait` the call's deadline alone ends a wait.

    A stream holds its place until its end, as it holds its connection. With a `key` function each
    key has `limit` places and a queue of its own, kept only while a call of it runs or waits.

    Put it inside of Retry, or a call that waits to be repeated holds a place meanwhile. A Timeout
    goes inside of it, so that waiting does not use up the attempt's time. Around a whole service it
    counts health probes too; there a LoadShedder is at home. It belongs to one event loop. Raises
    ConfigurationError for options out of range.
    """

    __slots__ = (
        "_clock",
        "_key",
        "_keyed",
        "_limit",
        "_max_wait",
        "_places",
        "_policy",
        "_queue",
        "name",
    )

    def __init__(
        self,
        name: str,
        *,
        limit: int,
        queue: int | None = 0,
        max_wait: float | timedelta | None = None,
        key: Callable[[Call], str] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = checked_name(name)
        self._policy = f"bulkhead {name}"
        self._limit = whole_number("limit", limit, at_least=1)
        self._queue = inf if queue is None else whole_number("queue", queue, at_least=0)
        self._max_wait = inf if max_wait is None else seconds("max_wait", max_wait)
        self._key = None if key is None else function("key", key)
        self._keyed: dict[str, Places] = {}
        self._places = Places(None)
        self._clock = checked_clock(clock)

    @property
    def traits(self) -> Trait:
        """It holds places, and queues unless nothing may wait."""
        return _QUEUES if self._queue else _HOLDS

    @property
    def longest_wait(self) -> float:
        """The seconds that a call may wait here; inf where only its deadline ends the wait."""
        return self._max_wait if self._queue else 0.0

    @property
    def limit(self) -> int:
        """How many calls may run at once (of each key)."""
        return self._limit

    @property
    def running(self) -> int:
        """How many calls hold a place now, over all keys."""
        return sum(places.running for places in self._all())

    @property
    def waiting(self) -> int:
        """How many calls wait for a place now, over all keys."""
        return sum(len(places.waiters) for places in self._all())

    def reconfigure(
        self,
        *,
        limit: int | None = None,
        queue: int | None = None,
        max_wait: float | timedelta | None = None,
    ) -> None:
        """Change what is given, None being "as it is"; who runs or waits is left in peace.

        A lower limit is reached as calls end, a shorter queue as it empties; `max_wait` is for
        those who come from now on. A queue can be made unbounded at construction only.
        """
        new_limit = self._limit if limit is None else whole_number("limit", limit, at_least=1)
        new_queue = self._queue if queue is None else whole_number("queue", queue, at_least=0)
        self._max_wait = self._max_wait if max_wait is None else seconds("max_wait", max_wait)
        self._limit, self._queue = new_limit, new_queue
        for places in self._all():
            places.hand_out(new_limit)

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        """Let `call` proceed once it has a place."""
        key = self._key
        places = self._places if key is None else self._places_of(key(call))
        if places.running < self._limit:
            places.running += 1
        else:
            await self._wait(call, places)
        try:
            return await proceed(call)
        finally:
            if places.watched:
                self._release(places)
            else:
                places.running -= 1

    async def _wait(self, call: Call, places: Places) -> None:
        """Return with a place taken, or raise."""
        began = self._clock.monotonic()
        allowed = self._max_wait
        if call.deadline is not None:
            allowed = min(allowed, call.deadline - began)
        if len(places.waiters) >= self._queue:
            raise self._refusal(call, places, began)
        if allowed <= 0:
            raise self._refusal(call, places, began, allowed=0.0)
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        places.join(waiter)
        timer = None
        if allowed < inf:
            timer = self._clock.call_later(allowed, lambda: places.expire(waiter))
        try:
            admitted = await waiter
        except BaseException:
            if places.leave(waiter):  # it got its place in the turn in which it was cancelled
                self._release(places)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        now = self._clock.monotonic()
        if not admitted:
            raise self._refusal(call, places, now, waited=now - began, allowed=allowed)
        call.emit(CallWaited(self._policy, now - began))

    def _release(self, places: Places) -> None:
        places.release(self._clock.monotonic(), self._limit)
        if places.key is not None and not places.running:
            del self._keyed[places.key]

    def _places_of(self, key: str) -> Places:
        places = self._keyed.get(key)
        if places is None:
            if not isinstance(key, str):
                raise ConfigurationError(f"{self._policy}: key must return a str, not {key!r}")
            places = self._keyed[key] = Places(key)
        return places

    def _all(self) -> list[Places]:
        return [self._places] if self._key is None else list(self._keyed.values())

    def _refusal(
        self,
        call: Call,
        places: Places,
        now: float,
        *,
        waited: float = 0.0,
        allowed: float | None = None,
    ) -> BulkheadFullError:
        """Say that there is no room or, where a wait was `allowed`, none in time."""
        running, waiting = places.running, len(places.waiters)
        measured, threshold = float(running + waiting), self._limit + self._queue
        one = self._limit == 1
        whole = "the only place" if one else f"all {self._limit} places"
        message = f"{whole} of the bulkhead {self.name!r} {'is' if one else 'are'} taken"
        if allowed is not None:
            measured, threshold = waited, allowed
            message += f", and none came free in the {allowed:.3g} s that this call could wait"
        elif waiting:
            message += f", and {waiting} call{' waits' if waiting == 1 else 's wait'} for one"
        retry_after = places.refused(now)
        call.emit(BulkheadRejected(self._policy, running, waiting, waited, retry_after))
        return BulkheadFullError(
            message,
            call=call,
            policy=self._policy,
            measured=measured,
            threshold=threshold,
            retry_after=retry_after,
        )

    def __repr__(self) -> str:
        queue = "any number" if self._queue == inf else self._queue
        shown = [repr(self.name), f"{self._limit} at once", f"{queue} waiting"]
        if self._queue and self._max_wait < inf:
            shown.append(f"{self._max_wait:g} s at most")
        if self._key is not None:
            shown.append("each key")
        return f"Bulkhead({', '.join(shown)})"
