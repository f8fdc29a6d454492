"""One call of a loader's batch function: the keys it is for, and who waits for which."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from prodkit.errors import InternalError, NotFoundError

K = TypeVar("K")
V = TypeVar("V")

#: What a batch function returns: answers by key, or in the order of the keys. An exception in the
#: place of an answer is raised to those who asked for that key.
Answers: TypeAlias = "Mapping[K, V | Exception] | Sequence[V | Exception]"


class Waiter(asyncio.Future[V], Generic[K, V]):
    """A future of one caller alone; cancelling it tells the batch, and nothing else pays for it."""

    __slots__ = ("batch",)
    batch: Batch[K, V]

    def cancel(self, msg: Any = None) -> bool:
        """Stop waiting."""
        cancelled = super().cancel(msg)
        if cancelled:
            self.batch.leave()
        return cancelled


class Batch(Generic[K, V]):
    """The first waiter of each key, and the further ones; `given_up` hears when all have left."""

    __slots__ = ("_count", "_further", "_given_up", "_left", "loop", "task", "waiters")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, given_up: Callable[[Batch[K, V]], None]
    ) -> None:
        self.loop = loop
        self.waiters: dict[K, Waiter[K, V]] = {}
        self.task: asyncio.Task[Sequence[V | Exception]] | None = None
        self._further: dict[K, list[Waiter[K, V]]] = {}
        self._count = 0  # of the further ones
        self._left = 0
        self._given_up = given_up

    def add(self, key: K) -> Waiter[K, V]:
        """Return a new caller's future of the answer for `key`."""
        waiter: Waiter[K, V] = Waiter(loop=self.loop)
        waiter.batch = self
        if key in self.waiters:
            self._further.setdefault(key, []).append(waiter)
            self._count += 1
        else:
            self.waiters[key] = waiter
        return waiter

    def leave(self) -> None:
        """Count one caller less."""
        self._left += 1
        if self._left == len(self.waiters) + self._count:
            self._given_up(self)

    def split(self, size: int) -> list[Batch[K, V]]:
        """Return what is still wanted, in batches of at most `size` keys."""
        if not self._left and len(self.waiters) <= size:
            return [self]
        living = [
            (key, [waiter for waiter in self._of(key) if not waiter.done()]) for key in self.waiters
        ]
        wanted = [(key, waiters) for key, waiters in living if waiters]
        return [self._part(wanted[i : i + size]) for i in range(0, len(wanted), size)]

    def _part(self, wanted: list[tuple[K, list[Waiter[K, V]]]]) -> Batch[K, V]:
        part: Batch[K, V] = Batch(self.loop, self._given_up)
        for key, waiters in wanted:
            part.waiters[key] = waiters[0]
            if len(waiters) > 1:
                part._further[key] = waiters[1:]
                part._count += len(waiters) - 1
            for waiter in waiters:
                waiter.batch = part
        return part

    def _of(self, key: K) -> list[Waiter[K, V]]:
        return [self.waiters[key], *self._further.get(key, ())]

    def answer(self, answers: Sequence[V | Exception]) -> None:
        """Give each caller the answer for its key."""
        for (key, first), answer in zip(self.waiters.items(), answers, strict=True):
            if isinstance(answer, Exception):
                self._raise_to(key, answer)
            elif not first.done():
                first.set_result(answer)
        if self._further:
            self._answer_further(dict(zip(self.waiters, answers, strict=True)))
        self._end()

    def _answer_further(self, answers: dict[K, V | Exception]) -> None:
        for key, waiters in self._further.items():
            answer = answers[key]
            for waiter in waiters:
                if not waiter.done() and not isinstance(answer, Exception):
                    waiter.set_result(answer)

    def fail(self, error: BaseException) -> None:
        """Raise `error` to every caller."""
        for key in self.waiters:
            self._raise_to(key, error)
        self._end()

    def _end(self) -> None:
        """Let go of the waiters, which hold this batch: no work for the garbage collector."""
        self.waiters.clear()
        self._further.clear()

    def _raise_to(self, key: K, error: BaseException) -> None:
        if isinstance(error, StopIteration):  # which no future takes
            error = _unfit(f"a batch function answered with {error!r}")
        for waiter in self._of(key):
            if not waiter.done():
                waiter.set_exception(error)


def in_order(name: str, keys: list[K], answers: Answers[K, V]) -> Sequence[V | Exception]:
    """Return `answers` in the order of `keys`; InternalError says what is wrong with them."""
    if isinstance(answers, Mapping):
        return [answers[key] if key in answers else _nothing(name) for key in keys]
    if not isinstance(answers, Sequence) or isinstance(answers, str | bytes):
        raise _unfit(f"{name} must return a mapping or a sequence, not {type(answers).__name__}")
    if len(answers) != len(keys):
        raise _unfit(
            f"{name} returned {len(answers)} answers for {len(keys)} keys: it must return one for"
            " each in their order, or a mapping"
        )
    return answers


def _nothing(name: str) -> NotFoundError:
    error = NotFoundError("nothing was found")
    error.add_note(f"{name} found nothing")
    return error


def _unfit(why: str) -> InternalError:
    """Return an error whose message tells a stranger no name; the note says what is wrong."""
    error = InternalError("a load went wrong")
    error.add_note(why)
    return error
