"""Timeout: the time that one attempt has."""

from __future__ import annotations

from asyncio import CancelledError
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from prodkit.alarms import Alarms
from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock, checked_clock, seconds
from prodkit.errors import DeadlineExceededError
from prodkit.events import Event
from prodkit.pipeline import Next
from prodkit.traits import Trait

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AttemptTimedOut(Event):
    """One attempt took longer than `limit` seconds."""

    limit: float


class Timeout:
    """Ends one attempt after `limit` seconds; inside of Retry, each attempt gets as much.

    While the attempt runs `call.deadline` is no later than its end, so what is abandoned here is
    not gone on with over there. A stream must bring its first message in time and is then left
    alone. Raises DeadlineExceededError, a TimeoutError, with the reason TIMED_OUT; whether the
    attempt took effect is unknown. For the time of the whole call use Deadline.
    """

    __slots__ = ("_alarms", "_clock", "_limit")

    traits = Trait.LIMITS_ATTEMPT

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
        """Let `call` proceed for one attempt."""
        whole = call.deadline
        end = self._clock.monotonic() + self._limit
        call.deadline = end if whole is None else min(whole, end)
        alarm = self._alarms.set(end)
        call.on_first_message(alarm.disarm)
        try:
            return await proceed(call)
        except CancelledError:
            if alarm.rang():
                raise self._timed_out(call) from None
            raise
        finally:
            alarm.stop()
            call.deadline = whole

    def _timed_out(self, call: Call) -> DeadlineExceededError:
        call.emit(AttemptTimedOut("timeout", self._limit))
        return DeadlineExceededError(f"no answer within {self._limit:g} s", reason="TIMED_OUT")

    def __repr__(self) -> str:
        return f"Timeout({self._limit:g} s)"
