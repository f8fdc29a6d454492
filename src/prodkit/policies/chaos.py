"""Chaos: the failures that will come anyway, on a day of one's own choice."""

from __future__ import annotations

import random as _random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final, Literal, TypeAlias, TypeVar

from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock, checked_clock, seconds
from prodkit.errors import Code, ConfigurationError, UnavailableError, add_note, error_type
from prodkit.events import Event
from prodkit.options import function, probability
from prodkit.pipeline import Next
from prodkit.traits import Trait

T = TypeVar("T")
Match: TypeAlias = Callable[[Call], bool]
Failure: TypeAlias = "Code | Callable[[Call], Exception]"

#: The reason of every failure that Chaos itself makes.
CHAOS_INJECTED: Final = "CHAOS_INJECTED"
_PRODUCTION: Final = frozenset({"prod", "production", "prd", "live"})


@dataclass(frozen=True, slots=True)
class ChaosInjected(Event):
    """A call was delayed, failed before it ran, or lost its answer after it."""

    level: ClassVar[str] = "info"  # whoever reads the failures that follow should know

    fault: Literal["latency", "error", "abort"]


class Chaos:
    """Delays, fails and loses calls at random, to show what a service makes of that.

    A share of the calls, each rate being 0 to 1: `latency_rate` wait `latency` seconds before they
    run; `error_rate` do not run and fail with `error`: a code, or a function of the call that
    returns the exception; `abort_rate` run, and then their answer, or their error, is lost as if
    the connection had broken: UnavailableError, whether it took effect is unknown. The three are
    drawn independently and in this order, a rate of 0 draws nothing: the same `random` does
    the same again. Failures made here have the reason CHAOS_INJECTED, exceptions of the `error`
    function keep their own; all bear a note, and every fault is a ChaosInjected event.

    `match` names the calls that it may touch: by operation, key, principal, metadata. `enabled` is
    the switch, asked at every call. It must be told the `environment` it runs in, and refuses to be
    built for production (a name with the word production, prod, prd or live in it) unless
    `allow_production=True`. Nothing is read from anywhere: what says it is staging is believed.

    Inbound HTTP cannot take back an answer that has left: it refuses an `abort_rate` at start.
    Put it innermost, next to what should fail, so that the policies around it have something to do.
    """

    __slots__ = (
        "_abort_rate",
        "_clock",
        "_enabled",
        "_environment",
        "_error",
        "_error_rate",
        "_latency",
        "_latency_rate",
        "_match",
        "_random",
        "traits",
    )

    def __init__(
        self,
        *,
        environment: str,
        latency: float | timedelta = 1.0,
        latency_rate: float = 0.0,
        error: Failure = Code.UNAVAILABLE,
        error_rate: float = 0.0,
        abort_rate: float = 0.0,
        match: Match | None = None,
        enabled: Callable[[], bool] | None = None,
        allow_production: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = _random.random,
    ) -> None:
        _check_environment(environment, allow_production)
        self._environment = environment
        self._latency = seconds("latency", latency)
        self._error = _failure(error)
        self._latency_rate = probability("latency_rate", latency_rate)
        self._error_rate = probability("error_rate", error_rate)
        self._abort_rate = probability("abort_rate", abort_rate)
        self._match = _function("match", match)
        self._enabled = _function("enabled", enabled)
        self._clock = checked_clock(clock)
        self._random = function("random", random)
        self.traits = Trait.INJECTS | (Trait.RETRACTS if abort_rate else Trait.NONE)

    def reconfigure(
        self,
        *,
        latency: float | timedelta | None = None,
        latency_rate: float | None = None,
        error: Failure | None = None,
        error_rate: float | None = None,
        abort_rate: float | None = None,
        match: Match | None = None,
        enabled: Callable[[], bool] | None = None,
    ) -> None:
        """Change what happens to the calls that come from now on; all or nothing.

        An `abort_rate` that was 0 at construction stays 0: doors were asked only then.
        """
        given = {
            "latency_rate": self._latency_rate if latency_rate is None else latency_rate,
            "error_rate": self._error_rate if error_rate is None else error_rate,
            "abort_rate": self._abort_rate if abort_rate is None else abort_rate,
        }
        rates = tuple(probability(option, rate) for option, rate in given.items())
        if rates[2] and Trait.RETRACTS not in self.traits:
            raise ConfigurationError(
                f"abort_rate was 0 at construction and cannot become {abort_rate!r}: not every "
                "door can lose an answer; start with a small rate and the switch off"
            )
        wait = self._latency if latency is None else seconds("latency", latency)
        failure = self._error if error is None else _failure(error)
        chosen = _function("match", match) or self._match
        self._enabled = _function("enabled", enabled) or self._enabled
        self._match, self._error, self._latency = chosen, failure, wait
        self._latency_rate, self._error_rate, self._abort_rate = rates

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        """Let `call` proceed, unless something happens to it."""
        if self._enabled is not None and not self._enabled():
            return await proceed(call)
        if self._match is not None and not self._match(call):
            return await proceed(call)
        random = self._random
        late = self._latency_rate > 0 and random() < self._latency_rate
        fails = self._error_rate > 0 and random() < self._error_rate
        lost = self._abort_rate > 0 and random() < self._abort_rate
        if late:
            call.emit(ChaosInjected("chaos", "latency"))
            await self._clock.sleep(self._latency)
        if fails:
            call.emit(ChaosInjected("chaos", "error"))
            raise self._failed(call)
        return await self._lose(call, proceed) if lost else await proceed(call)

    def _failed(self, call: Call) -> Exception:
        made = self._error
        if isinstance(made, Code):
            text = "this call failed on purpose"
            error: Exception = error_type(made)(text, code=made, reason=CHAOS_INJECTED)
        else:
            error = made(call)
        add_note(error, "Chaos: injected before the call ran")
        return error

    @staticmethod
    async def _lose(call: Call, proceed: Next[T]) -> T:
        cause: Exception | None = None
        try:
            await proceed(call)
        except Exception as error:  # noqa: BLE001 - a lost connection hides errors and answers alike
            cause = error
        call.emit(ChaosInjected("chaos", "abort"))
        lost = UnavailableError("the answer was lost on purpose", reason=CHAOS_INJECTED)
        lost.add_note("Chaos: injected after the call ran")
        raise lost from cause

    def __repr__(self) -> str:
        name = getattr(self._error, "name", None) or getattr(self._error, "__name__", "error")
        faults = (
            (self._latency_rate, f"{self._latency:g} s late"),
            (self._error_rate, f"{name}"),
            (self._abort_rate, "answer lost"),
        )
        said = [f"{what} at {100 * rate:g} %" for rate, what in faults if rate]
        return f"Chaos({', '.join([repr(self._environment), *(said or ['nothing'])])})"


def _check_environment(environment: str, allow_production: bool) -> None:
    if not isinstance(environment, str) or not environment.strip():
        raise ConfigurationError(
            f"environment must say where this runs, 'staging' say, not {environment!r}"
        )
    words = re.split(r"[\W_]+", environment.casefold())
    if not allow_production and not _PRODUCTION.isdisjoint(words):
        raise ConfigurationError(
            f"environment is {environment!r}: there Chaos needs allow_production=True"
        )


def _failure(error: Failure) -> Failure:
    allowed = isinstance(error, Code) and error not in (Code.OK, Code.CANCELLED)
    if not allowed and (isinstance(error, type) or not callable(error)):
        raise ConfigurationError(
            "error must be a code other than OK and CANCELLED, or a function of the call that "
            f"returns an exception, not {error!r}"
        )
    return error


F = TypeVar("F", bound="Callable[..., bool]")


def _function(option: str, value: F | None) -> F | None:
    if value is not None and (not callable(value) or isinstance(value, type)):
        raise ConfigurationError(f"{option} must be a function that says yes or no, not {value!r}")
    return value if value is None else function(option, value)
