"""A store that may fail or hang, held to a time: within it there is an answer or an error."""

from __future__ import annotations

from asyncio import CancelledError, Future
from collections.abc import Coroutine, Generator
from math import inf
from types import coroutine
from typing import TypeVar

from prodkit.clock import Alarm, Clock
from prodkit.errors import Code, UnavailableError, code_of
from prodkit.policies.rate_limiter.store import Answer, Limits, RateLimitStore

T = TypeVar("T")
#: Codes of errors that say of the store that it is away; any other is a bug, and is raised.
_AWAY = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED})


class StoreAwayError(UnavailableError):
    """The store of a limiter failed or hung."""


class Guard:
    """A RateLimitStore that answers within `timeout` seconds or raises StoreAwayError.

    Once the store is away one call at a time asks it, the others hear so at once: a store that
    hangs holds no crowd of calls. A store that answers without suspending costs no timer, nor does
    one that holds itself to a time: its `answers_within` says to how many seconds.
    """

    __slots__ = ("_asking", "_away", "_clock", "_punctual", "_store", "_timeout")

    def __init__(self, store: RateLimitStore, timeout: float, clock: Clock) -> None:
        self._store = store
        self._timeout = timeout
        self._punctual: bool = getattr(store, "answers_within", inf) <= timeout
        self._clock = clock
        self._away = False
        self._asking = False

    async def take(self, key: str, limits: Limits, cost: int, now: int, patience: int) -> Answer:
        """Ask the store, see RateLimitStore; a store that came back is noticed at once."""
        if not self._away:
            return await self._held(self._store.take(key, limits, cost, now, patience))
        if self._asking:
            raise StoreAwayError("the store was away a moment ago, and another call asks it")
        self._asking = True
        try:
            return await self._held(self._store.take(key, limits, cost, now, patience))
        finally:
            self._asking = False

    async def give_back(self, key: str, limits: Limits, cost: int, answer: Answer) -> None:
        """Ask the store, and leave it at that where it is away."""
        if not self._away:
            try:
                await self._held(self._store.give_back(key, limits, cost, answer))
            except StoreAwayError:
                return

    async def _held(self, work: Coroutine[object, object, T]) -> T:
        try:
            held = work if self._punctual else _within(work, self._timeout, self._clock)
            result = await held
        except Exception as error:
            if code_of(error) not in _AWAY:
                raise
            self._away = True
            raise StoreAwayError(str(error) or type(error).__name__) from error
        self._away = False
        return result


@coroutine
def _within(
    work: Coroutine[object, object, T], timeout: float, clock: Clock
) -> Generator[object, object, T]:
    """Run `work` to its end, or cancel it and raise TimeoutError once it suspended too long."""
    try:
        awaited = work.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    alarm, late = Alarm(clock, timeout), False
    try:
        while True:
            try:
                sent = yield awaited
            except BaseException as error:  # noqa: BLE001 - what comes of it is the work's to hear
                late = not late and alarm.rang()
                if late and _answered(awaited):
                    work.send(None)  # it ends here, or it needs more time than it has
                awaited = work.throw(error)
            else:
                awaited = work.send(sent)
    except StopIteration as finished:
        result = finished.value
        return result
    except CancelledError:
        if not late:
            raise
        raise TimeoutError(f"no answer in {timeout:g} s") from None
    finally:
        alarm.stop()


def _answered(awaited: object) -> bool:
    """Say whether the answer came while the event loop was late: no fault of the store's."""
    return isinstance(awaited, Future) and awaited.done() and not awaited.cancelled()
