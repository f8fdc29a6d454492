"""The options of a circuit breaker: one immutable set, checked as a whole, shared by many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from math import inf
from typing import TypedDict

from prodkit.clock import seconds
from prodkit.errors import ConfigurationError
from prodkit.options import is_number, share, whole_number

#: The longest break, in first breaks, where `break_max` is not said.
LONGEST = 10

_DURATIONS = (
    "sampling_duration",
    "slow_call_duration",
    "break_duration",
    "break_max",
    "probe_timeout",
)
#: What means nothing where failures in a row count, and no call is slow.
_OF_A_RATIO = ("failure_ratio", "minimum_throughput", "sampling_duration")
_NUMBERS = ("consecutive_failures", "minimum_throughput", "half_open_probes")


class Choices(TypedDict, total=False):
    """Options by name, for construction and for `reconfigure`; None is the same as left out."""

    failure_ratio: float | None
    consecutive_failures: int | None
    minimum_throughput: int | None
    sampling_duration: float | timedelta | None
    slow_call_duration: float | timedelta | None
    slow_call_ratio: float | None
    break_duration: float | timedelta | None
    break_growth: float | None
    break_max: float | timedelta | None
    half_open_probes: int | None
    probe_timeout: float | timedelta | None
    shadow: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """When a breaker opens and how it tries again; durations are seconds, or given as timedelta.

    - `failure_ratio` (above 0, at most 1) of the calls of the last `sampling_duration` seconds, of
      which there must be `minimum_throughput`. Half of 20 in 30 s: fewer calls are chance, and a
      longer window remembers an outage that is over.
    - `consecutive_failures`: open on that many in a row instead, for what is called too seldom to
      have a ratio.
    - `slow_call_duration`: a call that takes as long is slow, however it ends (None: nothing is
      timed), and `slow_call_ratio` of slow ones opens it too, over the same window. Take what no
      good call needs, and less than the Timeout inside.
    - `break_duration`: how long it stays open. After failed probes the next break is `break_growth`
      times as long, up to `break_max` (None: ten times the first), and the first again once it
      closed. 5 s without growth: a short outage costs little more than it lasts. Let it grow where
      what comes back knocks down a dependency that just woke up.
    - `half_open_probes`: how many calls try then; all must succeed. One that is out for
      `probe_timeout` seconds has failed, so hung probes never hold a circuit longer than that.
    - `shadow`: decide and tell, but let every call proceed: to try options on live traffic.

    Raises ConfigurationError for what is out of range, and for what the others leave nothing to do.
    """

    failure_ratio: float = 0.5
    consecutive_failures: int | None = None
    minimum_throughput: int = 20
    sampling_duration: float = 30.0
    slow_call_duration: float | None = None
    slow_call_ratio: float = 0.5
    break_duration: float = 5.0
    break_growth: float = 1.0
    break_max: float | None = None
    half_open_probes: int = 1
    probe_timeout: float = 30.0
    shadow: bool = False

    def __post_init__(self) -> None:
        for option in _DURATIONS:
            value = getattr(self, option)
            if value is not None:
                object.__setattr__(self, option, seconds(option, value))
        for option in _NUMBERS:
            value = getattr(self, option)
            if value is not None:
                whole_number(option, value)
        share("failure_ratio", self.failure_ratio)
        share("slow_call_ratio", self.slow_call_ratio)
        if not is_number(self.break_growth) or not 1 <= self.break_growth < inf:
            raise ConfigurationError(
                f"break_growth must be a finite factor of at least 1, not {self.break_growth!r}"
            )
        if self.break_max is not None and self.break_max < self.break_duration:
            raise ConfigurationError(
                f"break_max must be at least break_duration ({self.break_duration:g}), "
                f"not {self.break_max:g}"
            )
        if not isinstance(self.shadow, bool):
            raise ConfigurationError(f"shadow must be True or False, not {self.shadow!r}")
        idle = _idle(self.consecutive_failures, self.slow_call_duration)
        _refuse(idle, [option for option in idle if getattr(self, option) != _DEFAULT[option]])

    @property
    def timeless(self) -> bool:
        """Whether it does not matter to a closed circuit when a call succeeded."""
        return self.consecutive_failures is not None and self.slow_call_duration is None

    def changed(self, choices: Choices) -> Options:
        """Return these options with `choices` in place; this very object if there are none.

        What was not chosen and then has nothing to do falls back to its default. Raises
        ConfigurationError for a choice that the others leave nothing to do.
        """
        chosen = {option: value for option, value in choices.items() if value is not None}
        if not chosen:
            return self
        idle = _idle(
            chosen.get("consecutive_failures", self.consecutive_failures),
            chosen.get("slow_call_duration", self.slow_call_duration),
        )
        _refuse(idle, chosen)
        return _replace(self, **{option: _DEFAULT[option] for option in idle}, **chosen)

    def reconfigured(self, choices: Choices, start: Options | None = None) -> Options:
        """Return `changed` options, or `start` changed, for circuits that run.

        Raises ConfigurationError if they would count something else than now.
        """
        options = (start or self).changed(choices)
        if (options.consecutive_failures is None) is not (self.consecutive_failures is None):
            must = "unset" if self.consecutive_failures is None else "set"
            raise ConfigurationError(
                f"consecutive_failures must stay {must} while running: it is another kind of window"
            )
        return options

    def break_after(self, previous: float) -> float:
        """Return how long the break is that follows on one of `previous` seconds, 0 for none."""
        longest = self.break_max or LONGEST * self.break_duration
        return min(max(self.break_duration, previous * self.break_growth), longest)

    def __str__(self) -> str:
        opens = (
            f"{self.failure_ratio:.3g} of at least {self.minimum_throughput} in "
            f"{self.sampling_duration:g} s fail"
            if self.consecutive_failures is None
            else f"{self.consecutive_failures} in a row fail"
        )
        slow = (
            ""
            if self.slow_call_duration is None
            else f" or {self.slow_call_ratio:.3g} take {self.slow_call_duration:g} s"
        )
        growth = "" if self.break_growth == 1 else f" x {self.break_growth:g}"
        probes = f"{self.half_open_probes} probe{'s' * (self.half_open_probes > 1)}"
        shadow = ", shadow" * self.shadow
        return f"opens if {opens}{slow}, for {self.break_duration:g} s{growth}, {probes}{shadow}"


def _idle(consecutive_failures: object, slow_call_duration: object) -> dict[str, str]:
    """Return the options that have nothing to do beside these two, with the reason of each."""
    idle: dict[str, str] = {}
    if consecutive_failures is not None:
        names = _OF_A_RATIO if slow_call_duration is None else ("failure_ratio",)
        idle = dict.fromkeys(
            names,
            "beside consecutive_failures: a breaker opens on a share of its calls or on that many "
            "in a row",
        )
    if slow_call_duration is None:
        idle["slow_call_ratio"] = "without slow_call_duration"
    return idle


def _refuse(idle: Mapping[str, str], chosen: Iterable[str]) -> None:
    """Raise ConfigurationError if one that was `chosen` is `idle`."""
    for option in chosen:
        if option in idle:
            raise ConfigurationError(f"{option} means nothing {idle[option]}")


#: What no type checker can know: that the names are fields and that None is gone.
_replace: Callable[..., Options] = replace

_DEFAULT = {each.name: each.default for each in fields(Options)}

DEFAULTS = Options()
