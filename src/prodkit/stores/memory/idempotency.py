"""Idempotency keys that live and die with one process."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

from prodkit.errors import UnavailableError
from prodkit.policies.claim import Record, Terms


@dataclass(slots=True)
class _Entry:
    fingerprint: bytes
    fence: str
    lease_until: float
    expires_at: float
    result: bytes | None = None


class MemoryIdempotencyStore:
    """Keeps keys and answers for one process; for tests, and where a restart may forget.

    Each claim looks at two keys in turn and forgets those past their retention. An answer is never
    dropped early: with `max_keys` there, a new key is refused with UnavailableError.
    """

    transactional: ClassVar[bool] = False
    __slots__ = ("_entries", "_ring", "max_keys")

    def __init__(self, *, max_keys: int = 100_000) -> None:
        if max_keys < 1:
            raise ValueError(f"max_keys must be at least 1, not {max_keys!r}")
        self.max_keys = max_keys
        self._entries: dict[str, _Entry] = {}
        self._ring: deque[str] = deque()  # every key once; its head is next in turn

    async def claim(
        self, key: str, fingerprint: bytes, fence: str, *, now: float, terms: Terms
    ) -> Record | None:
        """Claim `key` if it is free; see IdempotencyStore."""
        self._look_at_two(now)
        entry = self._entries.get(key)
        if entry is None:
            if len(self._ring) >= self.max_keys:
                raise UnavailableError(f"the idempotency store holds its {self.max_keys} keys")
            self._ring.append(key)
        elif now < entry.expires_at and not (
            entry.result is None and entry.lease_until <= now and entry.fingerprint == fingerprint
        ):
            return Record(entry.fingerprint, entry.result)
        self._entries[key] = _Entry(fingerprint, fence, now + terms.lease, now + terms.retention)
        return None

    async def extend(self, key: str, fence: str, *, now: float, terms: Terms) -> bool:
        """Renew the lease if `fence` still holds it; see IdempotencyStore."""
        entry = self._held(key, fence)
        if entry is None or entry.expires_at <= now:
            return False
        entry.lease_until = now + terms.lease
        entry.expires_at = now + terms.retention
        return True

    async def complete(
        self, key: str, fence: str, result: bytes, *, now: float, terms: Terms, tx: object = None
    ) -> bool:
        """Keep `result` if `fence` still holds the key; see IdempotencyStore."""
        if tx is not None:
            raise TypeError("MemoryIdempotencyStore cannot take part in a transaction")
        entry = self._held(key, fence)
        if entry is None or entry.expires_at <= now:
            return False
        entry.result = result
        entry.expires_at = now + terms.retention
        return True

    async def release(self, key: str, fence: str) -> None:
        """Make a running key free; see IdempotencyStore."""
        entry = self._held(key, fence)
        if entry is not None:  # the key keeps its one place in the ring until its turn comes
            entry.fence = ""
            entry.expires_at = float("-inf")

    def _held(self, key: str, fence: str) -> _Entry | None:
        entry = self._entries.get(key)
        return entry if entry and entry.fence == fence and entry.result is None else None

    def _look_at_two(self, now: float) -> None:
        for _ in range(min(2, len(self._ring))):
            if self._entries[self._ring[0]].expires_at <= now:
                del self._entries[self._ring.popleft()]
            else:
                self._ring.rotate(-1)

    @property
    def size(self) -> int:
        """How many keys are kept."""
        return len(self._ring)
