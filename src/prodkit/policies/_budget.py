"""What attempts beyond the first may cost, so that an outage does not triple its own load."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from operator import attrgetter
from typing import TypeAlias

from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock, checked_clock
from prodkit.errors import ConfigurationError
from prodkit.options import function, number, probability, whole_number

#: Seconds after which a budget has earned at least what a new one begins with.
_RENEWED = 1.0


class RetryBudget:
    """What retries may cost in all: `ratio` of the calls and `per_second` on top.

    A token bucket, as Finagle has it: a call puts in `ratio`, a second `per_second`, a retry takes
    one. It holds at most `capacity` and begins with a second's worth. Share one object between the
    policies of the pipelines that share a dependency, but not between a Retry and a Hedge of one
    pipeline: both would pay in for the same call. When everything fails, a budget of 0.2 makes 1.2
    times the load of it, where three attempts without a budget make 3 times.
    """

    __slots__ = ("_capacity", "_per_second", "_ratio", "_tokens", "_updated", "calls")

    def __init__(
        self, ratio: float = 0.2, per_second: float = 10.0, *, capacity: float = 100.0
    ) -> None:
        self._ratio = probability("ratio", ratio)
        self._per_second = number("per_second", per_second)
        self._capacity = number("capacity", capacity, at_least=1)
        self._tokens = min(self._per_second, self._capacity)
        self._updated: float | None = None
        self.calls = 0  # begun since the last withdrawal; counting is all that a good call pays

    def withdraw(self, now: float) -> bool:
        """Take the price of one retry if it is there; `now` is a monotonic reading."""
        elapsed = 0.0 if self._updated is None else now - self._updated
        income = self.calls * self._ratio + elapsed * self._per_second
        self._tokens = min(self._capacity, self._tokens + income)
        self._updated = now
        self.calls = 0
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def reconfigure(
        self,
        *,
        ratio: float | None = None,
        per_second: float | None = None,
        capacity: float | None = None,
    ) -> None:
        """Change what is given; what was saved is kept, as far as it fits the capacity.

        Time since the last withdrawal is paid at the new rate.
        """
        new_ratio = self._ratio if ratio is None else probability("ratio", ratio)
        rate = self._per_second if per_second is None else number("per_second", per_second)
        room = self._capacity if capacity is None else number("capacity", capacity, at_least=1)
        self._tokens = min(room, self._tokens + self.calls * self._ratio)
        self.calls = 0
        self._ratio, self._per_second, self._capacity = new_ratio, rate, room

    def forgettable(self, now: float) -> bool:
        """Say whether a new budget in its place would hold no more than this one."""
        return self._updated is None or now - self._updated >= _RENEWED

    def __repr__(self) -> str:
        return f"RetryBudget({self._ratio:.3g} of calls + {self._per_second:g}/s)"


#: Where a policy takes its budget from: one for all calls, or the one of each call's target.
Budget: TypeAlias = RetryBudget | Callable[[Call], RetryBudget]


class KeyedRetryBudget:
    """A RetryBudget for each target, so that one that is down does not use up the others' share.

    `key` tells the target of a call: its `operation` by default. It remembers `max_keys` targets
    and forgets the oldest of them once a new budget would be no richer; until then targets beyond
    share one budget. So many targets never make a way around the budget.
    """

    __slots__ = ("_budgets", "_key", "_max_keys", "_monotonic", "_options", "_others")

    def __init__(
        self,
        ratio: float = 0.2,
        per_second: float = 10.0,
        *,
        capacity: float = 100.0,
        key: Callable[[Call], Hashable] = attrgetter("operation"),
        max_keys: int = 1000,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._options = (ratio, per_second, capacity)
        self._others = self._new()
        self._key = function("key", key)
        self._max_keys = whole_number("max_keys", max_keys)
        self._budgets: dict[Hashable, RetryBudget] = {}
        self._monotonic = checked_clock(clock).monotonic

    def __call__(self, call: Call) -> RetryBudget:
        """Return the budget of the target of `call`."""
        key = self._key(call)
        budget = self._budgets.get(key)
        return self._add(key) if budget is None else budget

    def _add(self, key: Hashable) -> RetryBudget:
        budgets = self._budgets
        if len(budgets) >= self._max_keys:
            oldest = next(iter(budgets))
            budget = budgets.pop(oldest)
            if not budget.forgettable(self._monotonic()):
                budgets[oldest] = budget  # now the newest: the next one is asked next time
                return self._others
        budgets[key] = added = self._new()
        return added

    def _new(self) -> RetryBudget:
        ratio, per_second, capacity = self._options
        return RetryBudget(ratio, per_second, capacity=capacity)

    def reconfigure(
        self,
        *,
        ratio: float | None = None,
        per_second: float | None = None,
        capacity: float | None = None,
    ) -> None:
        """Change the budgets of all targets, as RetryBudget does its own."""
        for budget in (self._others, *self._budgets.values()):
            budget.reconfigure(ratio=ratio, per_second=per_second, capacity=capacity)
        old = self._options
        self._options = (
            old[0] if ratio is None else ratio,
            old[1] if per_second is None else per_second,
            old[2] if capacity is None else capacity,
        )

    def __repr__(self) -> str:
        ratio, per_second, _ = self._options
        return f"KeyedRetryBudget({ratio:.3g} of calls + {per_second:g}/s, a target)"


def checked_budget(budget: Budget | None, default: RetryBudget) -> Budget:
    """Return `budget`, or `default` for None; raises ConfigurationError for what is neither."""
    if budget is None:
        return default
    if isinstance(budget, RetryBudget) or callable(budget):
        return budget
    raise ConfigurationError(
        "budget must be a RetryBudget, a KeyedRetryBudget or a function that returns the budget "
        f"of a call, not {budget!r}"
    )
