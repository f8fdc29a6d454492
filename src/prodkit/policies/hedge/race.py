"""Attempts of one call that run at the same time, until there is a good answer."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Generic, TypeVar, cast

from prodkit.call import Call
from prodkit.clock import Clock, TimerHandle
from prodkit.errors import RejectedError
from prodkit.pipeline import Next

T = TypeVar("T")
IsFailure = Callable[[Call, Exception | None], bool]


class Attempt(Generic[T]):
    """One attempt on a fork of the call: what came of it, if it ended by itself."""

    __slots__ = ("call", "ended", "error", "good", "result", "task")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.result: T | None = None
        self.error: Exception | None = None
        self.ended = False
        self.good = False
        self.task: asyncio.Task[None] | None = None  # the first runs in the caller's

    async def run(self, proceed: Next[T], is_failure: IsFailure) -> None:
        """Let the fork proceed, and keep how it ended."""
        try:
            self.result = await proceed(self.call)
        except Exception as error:  # noqa: BLE001 - whoever started the race raises it
            self.error = error
        self.good = not is_failure(self.call, self.error)
        self.ended = True

    @property
    def refused(self) -> bool:
        """Whether a policy further in said that it did not run."""
        return isinstance(self.error, RejectedError) and self.error.refuses(self.call)

    def hand_back(self) -> T:
        """Return the result or raise the error."""
        error, self.error = self.error, None  # which would hold its own traceback
        if error is not None:
            raise error
        return cast("T", self.result)


class Race(Generic[T]):
    """The first attempt runs in the caller's own task, the others in tasks beside it.

    So a call that needs no other costs a timer and no task. When another attempt wins, the caller's
    task is cancelled up to here, as an Alarm does it. `may_send` is asked before each further
    attempt; after a failure there is none.
    """

    __slots__ = (
        "_call",
        "_cancelling",
        "_clock",
        "_context",
        "_delay",
        "_interrupted",
        "_is_failure",
        "_left",
        "_may_send",
        "_proceed",
        "_task",
        "_timer",
        "attempts",
        "first_took",
        "winner",
    )

    def __init__(
        self,
        call: Call,
        proceed: Next[T],
        *,
        delay: float,
        hedges: int,
        may_send: Callable[[int], bool],
        is_failure: IsFailure,
        clock: Clock,
    ) -> None:
        self._call = call
        self._proceed = proceed
        self._delay = delay
        self._left = hedges
        self._may_send = may_send
        self._is_failure = is_failure
        self._clock = clock
        self._task: asyncio.Task[object] | None = None  # while the first attempt runs in it
        self._cancelling = 0
        self._interrupted = False
        self._timer: TimerHandle | None = None
        self.attempts: list[Attempt[T]] = []
        self.winner: Attempt[T] | None = None
        self.first_took = 0.0

    async def run(self) -> Attempt[T]:
        """Return the first good attempt, or the failure that tells most; no attempt runs then."""
        self._context = copy_context()  # a clock may call back in another
        first = self._begin()
        self._set_timer()
        try:
            await self._run_first(first)
            while self.winner is None and (running := self._running()):
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stop_sending()
            if len(self.attempts) > 1:
                await self._end(self._running())
        return self.winner or self._telling()

    async def _run_first(self, first: Attempt[T]) -> None:
        task = self._task = asyncio.current_task()
        assert task is not None
        self._cancelling = task.cancelling()
        begun = self._clock.monotonic()
        try:
            await first.run(self._proceed, self._is_failure)
        except CancelledError:
            if not self._interrupted or task.uncancel() > self._cancelling:
                raise  # somebody else's, perhaps together with ours, and theirs wins
        else:
            if self._interrupted:  # it was finished in spite of it
                task.uncancel()  # pragma: no cover # tested, but CPython 3.11 loses sight of it
            self._judge(first)
        finally:
            self._task = None
            self.first_took = self._clock.monotonic() - begun

    def _begin(self) -> Attempt[T]:
        twin = self._call.fork()
        twin.attempt += len(self.attempts)
        attempt: Attempt[T] = Attempt(twin)
        self.attempts.append(attempt)
        return attempt

    def _set_timer(self) -> None:
        due = partial(self._context.run, self._send)
        self._timer = self._clock.call_later(self._delay, due)

    def _send(self) -> None:
        """Begin a further attempt: it is time, and there is no answer yet."""
        if self._left == 0 or not self._may_send(self._call.attempt + len(self.attempts)):
            return
        attempt = self._begin()
        attempt.task = asyncio.get_running_loop().create_task(self._run_beside(attempt))
        attempt.task.add_done_callback(_retrieve)
        self._left -= 1
        if self._left:
            self._set_timer()

    async def _run_beside(self, attempt: Attempt[T]) -> None:
        try:
            await attempt.run(self._proceed, self._is_failure)
        finally:
            self._judge(attempt)  # here, so that whoever finds the task done finds it judged
            if self.winner is attempt and self._task is not None:
                self._interrupted = True
                self._task.cancel()

    def _judge(self, attempt: Attempt[T]) -> None:
        if attempt.good and self.winner is None:
            self.winner = attempt
        self._stop_sending()

    def _stop_sending(self) -> None:
        self._left = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _running(self) -> set[asyncio.Task[None]]:
        return {a.task for a in self.attempts if a.task is not None and not a.task.done()}

    @staticmethod
    async def _end(running: set[asyncio.Task[None]]) -> None:
        """Cancel what still runs and wait for its end, whoever cancels us meanwhile."""
        for task in running:
            task.cancel()
        cancelled: CancelledError | None = None
        while running:
            try:
                _, running = await asyncio.wait(running)
            except CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def _telling(self) -> Attempt[T]:
        """Return the first failure of an attempt that ran, else the first refusal."""
        return next((a for a in self.attempts if a.ended and not a.refused), self.attempts[0])


def _retrieve(task: asyncio.Task[None]) -> None:
    """Take what a predicate that failed has raised: the call has, or will have, its own."""
    if not task.cancelled():
        task.exception()
