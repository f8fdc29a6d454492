"""What a task holds that others wait for, and the rule that nobody calls the world meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from prodkit.call import Call

T = TypeVar("T")

#: How many kinds of calls are warned of in the life of a process, each once.
_WARNINGS = 100
_log = logging.getLogger(__name__)


class HeldConnectionError(RuntimeError):
    """A remote call was begun while a transaction held its connection: a mistake in the program."""


class Hold:
    """A connection in a task's hands, from a pool that is called `name`, until it is not `open`."""

    __slots__ = ("name", "open")

    def __init__(self, name: str) -> None:
        self.name = name
        self.open = True


#: What the current task holds: set by whoever hands out connections.
HELD: ContextVar[Hold | None] = ContextVar("prodkit_held", default=None)


class _Rule:
    """What becomes of a call that should not be made: an error, or a warning for each kind."""

    def __init__(self) -> None:
        self.raises = True
        self.warned: set[tuple[str, str]] = set()

    def broken(self, pool: str, what: str) -> None:
        text = f"{what}: a remote call inside a transaction of {pool}; end the transaction first"
        if self.raises:
            raise HeldConnectionError(text)
        if (pool, what) not in self.warned and len(self.warned) < _WARNINGS:
            self.warned.add((pool, what))
            _log.warning("%s", text, stack_info=True)


_rule = _Rule()


def check_nothing_held(what: str) -> None:
    """Refuse the remote call `what` while the current task, or who began it, is in a transaction.

    The slowness of the other side would become ours: a second of waiting in a transaction keeps
    everybody else from its connection, and from what it locked, for that second. Every outbound
    door asks by itself; this is for adapters that reach the world by other ways. Raises
    HeldConnectionError.
    """
    hold = HELD.get()
    if hold is not None and hold.open:
        _rule.broken(hold.name, what)


async def outside_transactions(call: Call, proceed: Callable[[Call], Awaitable[T]]) -> T:
    """Check as `check_nothing_held` does: a middleware for functions that reach the world."""
    check_nothing_held(call.operation)
    return await proceed(call)


@contextmanager
def remote_calls_allowed() -> Iterator[None]:
    """Let the block call out while it holds a connection, where that is meant."""
    token = HELD.set(None)
    try:
        yield
    finally:
        HELD.reset(token)


@contextmanager
def only_warned() -> Iterator[None]:
    """Log each kind of such a call once, with its stack, instead of raising: for production.

    It holds for the whole process; `Platform.run` does it where the settings say `production`.
    """
    _rule.raises, before = False, _rule.raises
    try:
        yield
    finally:
        _rule.raises = before
