"""What retries may cost in all, so that an outage does not triple its own load."""

from __future__ import annotations

from prodkit.errors import ConfigurationError


class RetryBudget:
    """What retries may cost in all: `ratio` of the calls and `per_second` on top.

    A token bucket, as Finagle has it: a call puts in `ratio`, a second `per_second`, a retry takes
    one. It holds at most `capacity` and begins with a second's worth. Share one object between the
    Retry policies that share a dependency. When everything fails, a budget of 0.2 makes 1.2
    times the load of it, where three attempts without a budget make 3 times.
    """

    __slots__ = ("_per_second", "_ratio", "_tokens", "_updated", "calls", "capacity")

    def __init__(
        self, ratio: float = 0.2, per_second: float = 10.0, *, capacity: float = 100.0
    ) -> None:
        if not 0 <= ratio <= 1:
            raise ConfigurationError(f"ratio must be 0 to 1, not {ratio!r}")
        if not 0 <= per_second < float("inf"):
            raise ConfigurationError(
                f"per_second must be a number of 0 or more, not {per_second!r}"
            )
        if not 1 <= capacity < float("inf"):
            raise ConfigurationError(f"capacity must be a number of at least 1, not {capacity!r}")
        self._ratio = ratio
        self._per_second = per_second
        self._tokens = min(per_second, capacity)
        self._updated: float | None = None
        self.capacity = capacity
        self.calls = 0  # begun since the last withdrawal; counting is all that a good call pays

    def withdraw(self, now: float) -> bool:
        """Take the price of one retry if it is there; `now` is a monotonic reading."""
        elapsed = 0.0 if self._updated is None else now - self._updated
        income = self.calls * self._ratio + elapsed * self._per_second
        self._tokens = min(self.capacity, self._tokens + income)
        self._updated = now
        self.calls = 0
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
