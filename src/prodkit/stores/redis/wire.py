"""One socket to Redis: what is asked in one turn of the loop goes out together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias, cast

import hiredis

from prodkit.errors import UnavailableError
from prodkit.stores.redis.replies import Refusal, away

Reply: TypeAlias = "bytes | int | list[Reply] | Refusal | None"
Waiter: TypeAlias = "asyncio.Future[Reply]"
_MORE: Final = object()
#: The share of the time limit by which an answer may be missed later than it should.
_GRAIN = 0.05
#: Seconds after which a connection that Redis closes is not one that it refused.
_A_WHILE = 0.05


class Wire(asyncio.Protocol):
    """Asks by `ask`, and gives the answers to those who asked, in that order and no other.

    An answer that nobody waits for any more is read and dropped, so whoever gives up disturbs
    nobody. What is not answered within `timeout` seconds fails with UnavailableError; if Redis gave
    no answer at all for as long as that, all fails, and the socket is cut: none that comes late can
    be taken for another one. `lost` is told once that the wire is cut, why, and whether it was
    Redis that closed a connection which had served for a while.
    """

    def __init__(self, timeout: float, lost: Callable[[Wire, str, bool], None]) -> None:
        self._timeout = timeout
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=Refusal, notEnoughData=_MORE)
        self._transport: asyncio.Transport | None = None
        self._released: float | None = None  # until then, what is asked is held
        self._cut = ""
        self._batch: list[bytes] = []  # asked in this turn
        self._asked: list[Waiter] = []  # and who did
        self._waiting: deque[Waiter] = deque()  # for the answers to what was sent
        self._sent = 0  # how many, the greeting left out
        #: Until when the questions of a turn are to be answered, which the first of them is, they.
        self._due: deque[tuple[float, int, list[Waiter]]] = deque()
        self._heard = 0.0  # when the last answer came
        self._check: asyncio.TimerHandle | None = None
        self._doubtful = False
        self._closed: asyncio.Future[None] = self._loop.create_future()

    @property
    def pending(self) -> int:
        """How many answers are due."""
        return len(self._waiting) + len(self._asked)

    def ask(self, command: bytes) -> Waiter:
        """Send `command` together with all others of this turn; return what will be answered."""
        waiter: Waiter = self._loop.create_future()
        if not self._batch:
            self._begin()
        self._batch.append(command)
        self._asked.append(waiter)
        return waiter

    async def greet(self, commands: list[bytes]) -> list[Reply]:
        """Send `commands` ahead of what was asked already; return the answers."""
        if self._cut:
            raise away(self._cut)
        waiters: list[Waiter] = [self._loop.create_future() for _ in commands]
        self._write(commands, waiters)
        return await asyncio.gather(*waiters)

    def release(self) -> None:
        """Send what was asked so far, and from now on each turn what it asks.

        Raises UnavailableError where the wire was cut in the moment since it was greeted.
        """
        if self._cut:
            raise away(self._cut)
        self._released = self._loop.time()
        self._flush()

    async def settle(self, grace: float) -> None:
        """Wait for the answers that are due, `grace` seconds at most."""
        waiters = [*self._waiting, *self._asked]
        if waiters:
            await asyncio.wait(waiters, timeout=grace)

    async def gone(self) -> None:
        """Wait until the socket is closed."""
        if self._transport is not None:
            await asyncio.shield(self._closed)

    def _begin(self) -> None:
        until = self._loop.time() + self._timeout
        self._due.append((until, self._sent, self._asked))
        if self._check is None:
            self._check = self._loop.call_at(until, self._look)
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._batch and self._released is not None:
            batch, asked = self._batch, self._asked
            self._batch, self._asked = [], []
            self._sent += len(asked)
            self._write(batch, asked)

    def _write(self, commands: list[bytes], waiters: list[Waiter]) -> None:
        assert self._transport is not None
        self._waiting.extend(waiters)
        self._transport.write(b"".join(commands))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; told by the event loop."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's only looks like one
        if self._cut:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand out the answers in `data`; told by the event loop."""
        reader, waiting = self._reader, self._waiting
        due = len(waiting)
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _MORE:
                waiter = waiting.popleft()
                if not waiter.done():
                    waiter.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self.cut("said what it was not asked")
        if len(waiting) < due:
            self._heard = self._loop.time()

    def connection_lost(self, error: Exception | None) -> None:
        """End; told by the event loop."""
        self._transport = None
        why = "closed the connection" if error is None else f"is away: {error}"
        self.cut(why, served=self._served())
        self._closed.set_result(None)

    def _served(self) -> bool:
        return self._released is not None and self._loop.time() - self._released > _A_WHILE

    def cut(self, why: str, *, served: bool = False) -> None:
        """Close the socket at once, and fail all who wait."""
        if self._cut:
            return
        self._cut = why
        if self._check is not None:
            self._check.cancel()
        for waiter in (*self._waiting, *self._asked):
            _fail(waiter, away(why))
        self._waiting.clear()
        self._due.clear()
        self._batch, self._asked = [], []
        if self._transport is not None:
            self._transport.abort()
        self._lost(self, why, served)

    def _look(self) -> None:
        """See whether the oldest questions were answered in time, also those nobody waits for."""
        self._check = None
        now = self._loop.time()
        late = self._late(now)
        if late and not self._doubtful:
            # The loop may have stood still, and the answers lie in the socket: look there first.
            self._doubtful = True
            self._check = self._loop.call_later(self._timeout * _GRAIN, self._look)
            return
        self._doubtful = False
        how = f"gave no answer in {self._timeout:g} s"
        if late and self._heard + self._timeout <= now:
            self.cut(how)
            return
        for waiter in late:
            _fail(waiter, away(how))
        self._look_again(now)

    def _late(self, now: float) -> list[Waiter]:
        """Return the questions whose time is over, and that are without an answer."""
        due, answered = self._due, self._sent - len(self._waiting)
        late: list[Waiter] = []
        for until, first, waiters in due:
            if until > now:
                break
            late += waiters[max(answered - first, 0) :]
        return late

    def _look_again(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            self._due.popleft()
        if self._due:
            next_look = max(self._due[0][0], now + self._timeout * _GRAIN)
            self._check = self._loop.call_at(next_look, self._look)


def _fail(waiter: Waiter, error: UnavailableError) -> None:
    if not waiter.done():
        waiter.set_exception(error)
