"""The places of a bulkhead: how many are taken, and who waits for one, in order of arrival."""

from __future__ import annotations

from asyncio import Future
from collections import OrderedDict

#: How much a new observation of the time until a place came free counts against all before it.
_WEIGHT = 0.2


class Places:
    """Taken places and the queue for them; a waiter's future tells it whether it got one.

    While anybody waits every place is taken, so a newcomer that finds one free overtakes nobody.
    `watched` says that a release is more than counting down: somebody waits or was refused, or
    these are the places of one `key`, to be forgotten with its last call.
    """

    __slots__ = ("_freed_in", "_refused_at", "key", "running", "waiters", "watched")

    def __init__(self, key: str | None = None) -> None:
        self.key = key
        self.running = 0
        self.waiters: OrderedDict[Future[bool], None] = OrderedDict()
        self.watched = key is not None
        self._refused_at: float | None = None
        self._freed_in: float | None = None

    def join(self, waiter: Future[bool]) -> None:
        """Queue up."""
        self.waiters[waiter] = None
        self.watched = True

    def leave(self, waiter: Future[bool]) -> bool:
        """Queue up no longer; say whether `waiter` has a place in hand, which must be released."""
        self.waiters.pop(waiter, None)
        return waiter.done() and not waiter.cancelled() and waiter.result()

    def expire(self, waiter: Future[bool]) -> None:
        """End a wait without a place, unless it ended otherwise in this turn of the loop."""
        if not waiter.done():
            del self.waiters[waiter]
            waiter.set_result(False)

    def release(self, now: float, limit: int) -> None:
        """Give a place back, and on to whoever waited longest."""
        if self._refused_at is not None:
            self._learn(now - self._refused_at)
        self.running -= 1
        self.hand_out(limit)
        self.watched = bool(self.waiters) or self.key is not None

    def hand_out(self, limit: int) -> None:
        """Give free places to those who waited longest; who was cancelled meanwhile gets none."""
        while self.waiters and self.running < limit:
            waiter, _ = self.waiters.popitem(last=False)
            if not waiter.done():
                self.running += 1
                waiter.set_result(True)

    def refused(self, now: float) -> float | None:
        """Note a refusal; guess in how many seconds a place comes free, if there is a guess.

        It is the mean time that this took from earlier refusals on or, where nothing came free for
        longer than that, the time that it has taken already.
        """
        if self._refused_at is None:
            self._refused_at = now
            self.watched = True
        if self._freed_in is None:
            return None
        return max(self._freed_in, now - self._refused_at)

    def _learn(self, took: float) -> None:
        before = took if self._freed_in is None else self._freed_in
        self._freed_in = before + _WEIGHT * (took - before)
        self._refused_at = None
