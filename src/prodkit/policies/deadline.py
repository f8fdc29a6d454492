"""Deadline: the time that a whole call has, its retries, queues and downstream calls included."""

from __future__ import annotations

from asyncio import CancelledError
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from prodkit.alarms import Alarms
from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Alarm, Clock, checked_clock, seconds
from prodkit.errors import DeadlineExceededError
from prodkit.events import Event
from prodkit.pipeline import Next
from prodkit.traits import Trait

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DeadlineMissed(Event):
    """A call ran out of time; `remaining` seconds it had when it came to this policy."""

    remaining: float


class Deadline:
    """Ends a call, and all that happens on its behalf, `limit` seconds after it came.

    It only ever shortens the deadline that the call brought along; what has no time left does not
    start. Downstream calls inherit `call.deadline`. A stream must bring its first message in time
    and is then left alone; so is what a handler still does once its answer has left. Raises
    DeadlineExceededError; what the call did until then is unknown.
    """

    __slots__ = ("_alarms", "_clock", "_limit")

    traits = Trait.LIMITS_CALL

    def __init__(self, limit: float | timedelta, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._limit = seconds("limit", limit)
        self._clock = checked_clock(clock)
        self._alarms = Alarms(clock, self._limit)

    @property
    def limit(self) -> float:
        """The limit in seconds."""
        return self._limit

    def reconfigure(self, *, limit: float | timedelta) -> None:
        """Change the limit for the calls that come from now on."""
        self._limit = seconds("limit", limit)
        self._alarms = Alarms(self._clock, self._limit)

    async def __call__(self, call: Call, proceed: Next[T]) -> T:
        """Let `call` proceed under the sooner of its own deadline and this one."""
        now, end = self._clock.monotonic(), call.deadline
        remaining = self._limit if end is None else end - now
        if remaining >= self._limit:
            remaining = self._limit
            call.deadline = end = now + remaining
            alarm = self._alarms.set(end)
        elif remaining > 0:
            alarm = Alarm(self._clock, remaining)
        else:
            raise self._missed(call, remaining)
        call.on_first_message(alarm.disarm)
        try:
            return await proceed(call)
        except CancelledError:
            if alarm.rang():
                raise self._missed(call, remaining) from None
            raise
        finally:
            alarm.stop()

    @staticmethod
    def _missed(call: Call, remaining: float) -> DeadlineExceededError:
        call.emit(DeadlineMissed("deadline", remaining))
        if remaining <= 0:
            return DeadlineExceededError("the deadline had passed before the call began")
        return DeadlineExceededError(f"no answer within the {remaining:.3g} s that the call had")

    def __repr__(self) -> str:
        return f"Deadline({self._limit:g} s)"
