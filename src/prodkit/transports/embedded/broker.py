"""The embedded broker: durable queues in a SQLite file, with no server to install."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from prodkit.clock import SYSTEM_CLOCK, Clock, seconds
from prodkit.holding import check_nothing_held
from prodkit.transports.broker import DeadLetter, Delivery, Message
from prodkit.transports.embedded.queues import AT_ONCE, Queues
from prodkit.transports.embedded.thread import QueueThread

T = TypeVar("T")


class EmbeddedBroker:
    """A `Broker` over one file that several processes may share, or over `:memory:` for tests.

    A publish returns once it is committed and synced, so what was confirmed survives kill -9 and
    power loss; operations that come together share one commit. `lease` seconds after a process died
    its deliveries are handed out again. `poll` is how long, in seconds, a receiver may overlook
    what another process published, or what fell due.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "broker",
        lease: float = 15.0,
        poll: float = 0.25,
        wait: float = 5.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self.lease = seconds("lease", lease)
        self._poll = seconds("poll", poll)
        self._clock = clock
        self._thread = QueueThread(os.fspath(path), name=name, wait=seconds("wait", wait))
        self._receivers: dict[str, set[asyncio.Event]] = {}

    async def start(self) -> None:
        """Open the file. Raises UnavailableError."""
        await self._thread.start()

    async def stop(self, grace: float = 0.0) -> None:
        """Finish what was asked for, and close the file."""
        await self._thread.stop()

    async def ping(self) -> None:
        """Raise UnavailableError unless the broker answers."""
        await self._read(Queues.depths)

    async def declare(
        self, queue: str, types: Collection[str], /, *, ordered: bool = False
    ) -> None:
        """Create `queue` and add subscriptions, as `Broker` says; earlier ones stay."""
        await self._write(lambda queues: queues.declare(queue, types, ordered))

    async def publish(self, messages: Sequence[Message], /, *, mandatory: bool = True) -> None:
        """Store all `messages` or none; return when committed. Raises UnroutableError."""
        check_nothing_held(f"publish to {self.name}")
        await self._write(lambda queues: queues.publish(messages, mandatory))
        self._wake(*self._receivers)

    async def receive(self, queue: str, limit: int, /, *, wait: float = 0.0) -> list[Delivery]:
        """Take up to `limit` messages, waiting up to `wait` seconds for the first."""
        end = self._clock.monotonic() + wait
        woken = asyncio.Event()
        self._receivers.setdefault(queue, set()).add(woken)
        try:
            while True:
                woken.clear()
                if await self._read(lambda queues: queues.waiting(queue, self._clock.wall())):
                    taken = await self._take(queue, limit)
                    if taken:
                        return taken
                left = end - self._clock.monotonic()
                if left <= 0:
                    return []
                await self._pause(woken, min(left, self._poll))
        finally:
            self._receivers[queue].discard(woken)

    async def _pause(self, woken: asyncio.Event, pause: float) -> None:
        timer = self._clock.call_later(pause, woken.set)
        try:
            await woken.wait()
        finally:
            timer.cancel()

    async def _take(self, queue: str, limit: int) -> list[Delivery]:
        def take(queues: Queues) -> list[Delivery]:
            now = self._clock.wall()
            return queues.take(queue, limit, now, now + self.lease)

        future = self._thread.submit(take, writes=True)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # The thread may have leased them already; nobody would hear of it until they expire.
            future.add_done_callback(self._give_back)
            raise

    def _give_back(self, future: asyncio.Future[list[Delivery]]) -> None:
        if future.cancelled() or future.exception() is not None or not self._thread.running:
            return
        deliveries = future.result()

        def release(queues: Queues) -> None:
            for each in deliveries:
                queues.release(each, AT_ONCE)

        self._thread.submit(release, writes=True)

    async def ack(self, delivery: Delivery, /) -> None:
        """Settle: the message was handled."""
        await self._write(lambda queues: queues.ack(delivery))
        self._wake(delivery.queue)

    async def retry(self, delivery: Delivery, /, *, delay: float) -> None:
        """Hand it out again after `delay` seconds, with the next attempt number."""
        due = self._due(delay)
        await self._write(lambda queues: queues.retry(delivery, due))
        self._wake(delivery.queue)

    async def release(self, delivery: Delivery, /, *, delay: float = 0.0) -> None:
        """Hand it out again after `delay` seconds, as if it had not been delivered."""
        due = self._due(delay)
        await self._write(lambda queues: queues.release(delivery, due))
        self._wake(delivery.queue)

    def _due(self, delay: float) -> float:
        return self._clock.wall() + delay if delay > 0 else AT_ONCE

    async def dead(self, delivery: Delivery, /, *, reason: str) -> None:
        """Give it up: keep it as a dead letter."""
        now = self._clock.wall()
        # Lone surrogates, which JSON can bring in, are no text that SQLite would take.
        reason = reason.encode(errors="replace").decode()
        await self._write(lambda queues: queues.dead(delivery, reason, now))
        self._wake(delivery.queue)

    async def extend(self, deliveries: Sequence[Delivery], /) -> None:
        """Begin the leases of these deliveries anew."""
        until = self._clock.wall() + self.lease
        await self._write(lambda queues: queues.extend(deliveries, until))

    async def dead_letters(
        self, queue: str, /, *, limit: int = 100, after: int = 0
    ) -> list[DeadLetter]:
        """Return dead letters of `queue`, oldest first, with tags above `after`."""
        return await self._read(lambda queues: queues.dead_letters(queue, limit, after))

    async def replay(self, queue: str, tag: int, /) -> bool:
        """Put a dead letter back into its queue, attempts at zero; say whether it was there."""
        found = await self._write(lambda queues: queues.replay(queue, tag))
        self._wake(queue)
        return found

    async def drop(self, queue: str, tag: int, /) -> bool:
        """Delete a dead letter; say whether it was there."""
        return await self._write(lambda queues: queues.drop(queue, tag))

    async def depths(self) -> dict[str, tuple[int, int]]:
        """Return, for each queue, how many messages and how many dead letters it holds."""
        return await self._read(Queues.depths)

    def _wake(self, *names: str) -> None:
        for name in names:
            for event in self._receivers.get(name, ()):
                event.set()

    async def _read(self, function: Callable[[Queues], T]) -> T:
        return await self._thread.submit(function, writes=False)

    async def _write(self, function: Callable[[Queues], T]) -> T:
        return await self._thread.submit(function, writes=True)
