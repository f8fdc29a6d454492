"""Which partitions of an ordered queue a process consumes; sans-I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from math import ceil


def divide(
    consumers: Mapping[str, int], mine: Set[str], members: int, random: Callable[[], float]
) -> tuple[list[str], list[str]]:
    """Return which partitions to join, and which to leave.

    `consumers` says how many consumers each partition has, `mine` are those we have, and `members`
    is how many processes there are. Everybody joins free ones up to an equal share, in random
    order that fewer meet at one, and leaves what exceeds the share.
    """
    missing = ceil(len(consumers) / max(1, members)) - len(mine)
    if missing < 0:
        return [], sorted(mine)[missing:]
    free = [name for name in sorted(consumers) if consumers[name] == 0 and name not in mine]
    return sorted(free, key=lambda _: random())[:missing], []
