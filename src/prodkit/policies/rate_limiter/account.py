"""Several limits of one key, taken from together or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prodkit.policies.rate_limiter.limit import Meter
from prodkit.policies.rate_limiter.store import Answer, Limits


class Account:
    """The meters of one key, one a limit, in order; those `kept` serve on if they are the kind."""

    __slots__ = ("limits", "meters")

    def __init__(self, limits: Limits, kept: Sequence[Meter]) -> None:
        self.limits = limits
        self.meters: list[Meter] = [limit.meter(limit) for limit in limits]
        for place, (fresh, old) in enumerate(zip(self.meters, kept, strict=False)):
            if type(fresh) is type(old):
                old.limit = fresh.limit
                self.meters[place] = old

    @property
    def whole_at(self) -> int:
        """When nothing will be left to remember."""
        return max(meter.whole_at for meter in self.meters)

    def take(self, cost: int, now: int, patience: int) -> Answer:
        """Count `cost` in all meters if all admit it within `patience`; see RateLimitStore."""
        wait = 0
        for meter in self.meters:
            wait = max(wait, meter.wait(cost, now))
        if wait > patience:
            return (now + wait, wait, *self._ahead(cost, now))
        at = now + wait
        answer = [at, wait]
        for meter in self.meters:
            answer.append(meter.spend(cost, at))  # noqa: PERF401 - the loop is the faster one
        return answer

    def _ahead(self, cost: int, now: int) -> Iterator[int]:
        for meter in self.meters:
            wait = meter.wait(cost, now)
            yield meter.limit.tolerance + wait if wait else meter.ahead(now)

    def give_back(self, cost: int, answer: Answer) -> None:
        """Undo a `take` as far as nobody stands behind it."""
        for meter, ahead in zip(self.meters, answer[2:], strict=True):
            meter.give_back(cost, answer[0], ahead)
