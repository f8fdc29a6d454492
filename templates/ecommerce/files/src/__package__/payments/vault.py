"""Where means of payment wait, in memory alone, while the provider is away."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from .means import Means


class Vault:
    """Holds means of payment that could not be exchanged for a token yet.

    Nothing of it is ever written: what the process loses by dying, the customer types again.
    At most `capacity` are held (the oldest goes first), each for `lifetime` seconds.
    """

    def __init__(
        self, *, capacity: int = 10_000, lifetime: float = 900.0, now: Callable[[], float]
    ) -> None:
        self._capacity = capacity
        self._lifetime = lifetime
        self._now = now
        self._held: OrderedDict[str, tuple[float, Means]] = OrderedDict()

    def put(self, handle: str, means: Means) -> None:
        """Hold `means` until it is dropped or too old."""
        self._expire()
        self._held[handle] = (self._now() + self._lifetime, means)
        self._held.move_to_end(handle)
        while len(self._held) > self._capacity:
            self._held.popitem(last=False)

    def get(self, handle: str) -> Means | None:
        """Return what is held under `handle`, if it still is."""
        self._expire()
        held = self._held.get(handle)
        return None if held is None else held[1]

    def drop(self, handle: str) -> None:
        """Forget it."""
        self._held.pop(handle, None)

    def _expire(self) -> None:
        now = self._now()
        while self._held and next(iter(self._held.values()))[0] <= now:
            self._held.popitem(last=False)
