"""Loader: what many places ask for one by one is fetched together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Generic, Self, TypeVar

from prodkit._tasks import complete
from prodkit.data.batch import Answers, Batch, in_order
from prodkit.data.detached import detached
from prodkit.errors import ConfigurationError, UnavailableError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Loader(Generic[K, V]):
    """Gathers the keys asked for in one turn of the event loop, and fetches each of them once.

    `products = Loader(find_products)`, then `await products.load(id)` wherever one is needed; a
    page of ten and one of a hundred make the same number of calls (up to `max_batch` keys each, as
    a database or a peer takes them). `fetch` is given a list of different keys. It returns a
    mapping, where a key that is missing is NotFoundError, or a sequence in the order of the keys;
    an exception in the place of an answer is raised for that key alone, one that it raises is
    raised for all.

    A caller that is cancelled disturbs nobody; a batch is cancelled once nobody waits for it. It
    runs in the context of whoever asked first, without the deadline of that call: where answers
    depend on who asks, make a loader for each request.

    `cache=True` keeps every answer, not the errors, until `clear`: for a loader that lives as long
    as one request, which then sees one state. `async with` ends what is under way. Not given, each
    turn asks anew, and a loader may live as long as the process; put a `Cache` in front of it:
    `await cache.get(id, products.load)`. `calls` counts those of `fetch`.
    """

    def __init__(
        self,
        fetch: Callable[[list[K]], Awaitable[Answers[K, V]]],
        *,
        max_batch: int = 100,
        cache: bool = False,
        name: str | None = None,
    ) -> None:
        if isinstance(max_batch, bool) or not isinstance(max_batch, int) or max_batch < 1:
            raise ConfigurationError(f"max_batch must be a number of at least 1, not {max_batch!r}")
        self.name = name or str(getattr(fetch, "__qualname__", type(fetch).__name__))
        self.calls = 0
        self._fetch = fetch
        self._max_batch = max_batch
        self._kept: dict[K, V] | None = {} if cache else None
        self._collecting: Batch[K, V] | None = None
        self._running: set[Batch[K, V]] = set()
        self._under_way: dict[K, Batch[K, V]] = {}
        self._closed = False

    def load(self, key: K) -> asyncio.Future[V]:
        """Ask for `key` now; await what is returned for the answer.

        Raises NotFoundError, what `fetch` raised or returned for the key, InternalError if `fetch`
        returned something unfit, UnavailableError if it was cancelled or the loader is closed.
        """
        if self._kept is not None:
            known = self._known(key, self._kept)
            if known is not None:
                return known
        batch = self._collecting or self._begin()
        return batch.add(key)

    async def load_many(self, keys: Iterable[K]) -> list[V]:
        """Return the answers in the order of `keys`, or raise the first error there is."""
        return await asyncio.gather(*map(self.load, keys))

    def prime(self, key: K, value: V) -> None:
        """Keep an answer that came from elsewhere, in place of what is kept or under way."""
        if self._kept is None:
            raise ConfigurationError(f"loader {self.name} keeps no answers: it needs cache=True")
        self._under_way.pop(key, None)
        self._kept[key] = value

    def clear(self, key: K) -> None:
        """Keep the answer for `key` no longer, nor the one under way: it was changed."""
        self._under_way.pop(key, None)
        if self._kept is not None:
            self._kept.pop(key, None)

    def clear_all(self) -> None:
        """Keep no answer that there is, nor any that is under way."""
        self._under_way.clear()
        if self._kept is not None:
            self._kept.clear()

    async def aclose(self) -> None:
        """Cancel what is under way and await it; who waits gets UnavailableError."""
        self._closed = True
        collecting, self._collecting = self._collecting, None
        if collecting is not None:
            collecting.fail(self._unavailable())
        tasks = [batch.task for batch in self._running if batch.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await complete(_all(tasks))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        kept = "" if self._kept is None else ", cache"
        return f"Loader({self.name!r}, {self._max_batch} at once{kept})"

    def _known(self, key: K, kept: dict[K, V]) -> asyncio.Future[V] | None:
        if key in kept:
            future = asyncio.get_running_loop().create_future()
            future.set_result(kept[key])
            return future
        batch = self._under_way.get(key)
        return None if batch is None else batch.add(key)

    def _begin(self) -> Batch[K, V]:
        if self._closed:
            raise self._unavailable()
        loop = asyncio.get_running_loop()
        batch = self._collecting = Batch(loop, self._give_up)
        loop.call_soon(self._dispatch, batch, context=detached())
        return batch

    def _dispatch(self, collected: Batch[K, V]) -> None:
        if collected is not self._collecting:  # the loader was closed
            return
        self._collecting = None
        for batch in collected.split(self._max_batch):
            if self._kept is not None:
                self._under_way.update(dict.fromkeys(batch.waiters, batch))
            self._running.add(batch)
            batch.task = asyncio.create_task(self._run(list(batch.waiters)))
            batch.task.add_done_callback(partial(self._ended, batch))

    async def _run(self, keys: list[K]) -> Sequence[V | Exception]:
        self.calls += 1
        return in_order(self.name, keys, await self._fetch(keys))

    def _give_up(self, batch: Batch[K, V]) -> None:
        if batch.task is not None:
            self._forget(batch)  # nobody may join what is being cancelled
            batch.task.cancel()

    def _ended(self, batch: Batch[K, V], task: asyncio.Task[Sequence[V | Exception]]) -> None:
        self._running.discard(batch)
        error = self._unavailable() if task.cancelled() else task.exception()
        if error is not None:
            self._forget(batch)
            batch.fail(error)
            return
        answers = task.result()
        if self._kept is not None:
            self._keep(batch, answers, self._kept)
        batch.answer(answers)

    def _keep(self, batch: Batch[K, V], answers: Sequence[V | Exception], kept: dict[K, V]) -> None:
        for key, answer in zip(batch.waiters, answers, strict=True):
            if self._under_way.get(key) is batch:
                del self._under_way[key]
                if not isinstance(answer, Exception):
                    kept.setdefault(key, answer)  # it may have been primed before the batch began

    def _forget(self, batch: Batch[K, V]) -> None:
        for key in batch.waiters:
            if self._under_way.get(key) is batch:
                del self._under_way[key]

    def _unavailable(self) -> UnavailableError:
        error = UnavailableError("what was asked for cannot be loaded now")
        error.add_note(f"loader {self.name} {'is closed' if self._closed else 'was cancelled'}")
        return error


async def _all(tasks: list[asyncio.Task[Sequence[V | Exception]]]) -> None:
    await asyncio.wait(tasks)
