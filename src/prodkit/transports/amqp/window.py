"""What a consumer has received and not settled; sans-I/O, `now` is passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush

from prodkit.transports.broker import Message


@dataclass(slots=True)
class Entry:
    """A message that RabbitMQ keeps for us until it is settled on its channel."""

    tag: int
    server_tag: int
    message: Message
    attempts: int
    deliveries: int
    fence: int = 0
    until: float = 0.0


class Window:
    """Hands messages out in the order in which they came; each is ready, waiting, or taken.

    In an ordered one, a message waits until those with its key that came before it are settled.
    """

    def __init__(self, *, ordered: bool) -> None:
        self.ordered = ordered
        self._ready: deque[Entry] = deque()
        self._behind: dict[str, deque[Entry]] = {}  # a key is here while its first is unsettled
        self._later: list[tuple[float, int, Entry]] = []
        self._taken: dict[int, Entry] = {}

    def __len__(self) -> int:
        behind = sum(len(queue) for queue in self._behind.values())
        return len(self._ready) + len(self._later) + len(self._taken) + behind

    @property
    def taken(self) -> int:
        """How many are in somebody's hands."""
        return len(self._taken)

    def add(self, entry: Entry) -> None:
        """Put a message in that was received."""
        key = entry.message.key if self.ordered else ""
        if key in self._behind:
            self._behind[key].append(entry)
            return
        if key:
            self._behind[key] = deque()
        self._ready.append(entry)

    def take(self, limit: int, now: float, until: float) -> list[Entry]:
        """Hand out up to `limit` messages, until `until`."""
        while self._later and self._later[0][0] <= now:
            self._ready.appendleft(heappop(self._later)[2])
        taken: list[Entry] = []
        while self._ready and len(taken) < limit:
            entry = self._ready.popleft()
            entry.fence += 1
            entry.until = until
            self._taken[entry.tag] = entry
            taken.append(entry)
        return taken

    def held(self, tag: int, fence: int) -> Entry | None:
        """Return the message that was handed out so, if it still is."""
        entry = self._taken.get(tag)
        return entry if entry is not None and entry.fence == fence else None

    def settle(self, entry: Entry) -> None:
        """Forget a message that was handed out; the next with its key is ready."""
        del self._taken[entry.tag]
        key = entry.message.key
        behind = self._behind.get(key)
        if behind:
            self._ready.append(behind.popleft())
        elif behind is not None:
            del self._behind[key]

    def later(self, entry: Entry, due: float) -> None:
        """Take a message back, and hand it out again from `due` on; it holds its key meanwhile."""
        del self._taken[entry.tag]
        heappush(self._later, (due, entry.tag, entry))

    def expired(self, now: float) -> list[Entry]:
        """Return what was handed out and whose time is up."""
        return [entry for entry in self._taken.values() if entry.until <= now]

    def due(self) -> float:
        """Return when the next one that waits is due; infinity if none waits."""
        return self._later[0][0] if self._later else float("inf")

    def give_back(self) -> list[Entry]:
        """Forget, and return, what was not handed out."""
        unused = [*self._ready, *(entry for _, _, entry in self._later)]
        for queue in self._behind.values():
            unused += queue
        self._ready.clear()
        self._later.clear()
        self._behind.clear()
        return sorted(unused, key=lambda entry: entry.tag)
