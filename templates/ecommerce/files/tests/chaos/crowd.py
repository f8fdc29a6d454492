"""Thousands of keep-alive connections that ask at a rate of their own, however slow the answers.

A load generator that waits for answers before it asks again slows down with what it measures; this
one does not (an open loop), and measures each answer from when it was due.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httptools


@dataclass(slots=True)
class Answer:
    """One answer: its status (0: the connection broke), the seconds it took, when it came."""

    status: int
    took: float
    at: float
    headers: dict[bytes, bytes]


@dataclass
class Phase:
    """What was answered in a while of `seconds`."""

    seconds: float
    asked: int = 0
    answers: list[Answer] = field(default_factory=list)

    @property
    def statuses(self) -> dict[int, int]:
        return dict(sorted(Counter(answer.status for answer in self.answers).items()))

    @property
    def goodput(self) -> float:
        """Answers a second that did what was asked for."""
        return sum(200 <= answer.status < 300 for answer in self.answers) / self.seconds

    def rate(self, status: int) -> float:
        """Answers a second with this status."""
        return self.statuses.get(status, 0) / self.seconds

    def took(self, quantile: float, *statuses: int) -> float:
        """Return a quantile of the seconds that answers took, those with `statuses` if any."""
        taken = sorted(a.took for a in self.answers if not statuses or a.status in statuses)
        return taken[min(len(taken) - 1, math.ceil(quantile * len(taken)) - 1)] if taken else 0.0


class Connection(asyncio.Protocol):
    """One caller: sends a request, reads the answer, and may be used again."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._due = 0.0
        self._headers: dict[bytes, bytes] = {}

    def ask(self, request: bytes, due: float) -> asyncio.Future[Answer]:
        """Send `request`, which was `due` then; the answer comes, whatever happens."""
        self._waiting, self._due, self._headers = (
            asyncio.get_running_loop().create_future(),
            due,
            {},
        )
        assert self.transport is not None
        self.transport.write(request)
        return self._waiting

    @property
    def usable(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def _answered(self, status: int) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            now = time.monotonic()
            waiting.set_result(Answer(status, now - self._due, now, self._headers))

    # asyncio's and httptools' calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._answered(0)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_message_complete(self) -> None:
        keep = self._parser.should_keep_alive()
        self._answered(self._parser.get_status_code())
        if keep:
            self._parser = httptools.HttpResponseParser(self)
        elif self.transport is not None:
            self.transport.close()


class Crowd:
    """`count` connections to one port of loopback; `requests` is what they ask, in turn."""

    def __init__(self, port: int, count: int, requests: Iterator[bytes]) -> None:
        self._port = port
        self._count = count
        self._requests = requests
        self._idle: deque[Connection] = deque()
        self.reconnected = 0

    async def connect(self) -> None:
        """Open all connections, a few hundred a second.

        A server closes what is idle for long: connections of one moment would all end at one.
        """
        for start in range(0, self._count, 50):
            size = min(50, self._count - start)
            self._idle.extend(await asyncio.gather(*(self._connected() for _ in range(size))))
            await asyncio.sleep(0.2)

    def close(self) -> None:
        for connection in self._idle:
            if connection.transport is not None:
                connection.transport.abort()

    async def at_rate(self, rate: float, seconds: float) -> Phase:
        """Ask `rate` times a second, whatever is answered; wait for the last answer."""
        phase, tasks = Phase(seconds), set()
        began = time.monotonic()
        total = int(rate * seconds)
        while phase.asked < total:
            due = began + phase.asked / rate
            if (early := due - time.monotonic()) > 0:
                await asyncio.sleep(early)
            task = asyncio.create_task(self._ask(phase, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            phase.asked += 1
        await asyncio.gather(*tasks)
        return phase

    async def as_fast_as_possible(self, callers: int, seconds: float) -> Phase:
        """Ask with so many callers, each as soon as it has its answer."""
        phase = Phase(seconds)
        until = time.monotonic() + seconds

        async def call() -> None:
            while (now := time.monotonic()) < until:
                phase.asked += 1
                await self._ask(phase, now)

        await asyncio.gather(*(call() for _ in range(callers)))
        return phase

    async def _ask(self, phase: Phase, due: float) -> None:
        connection = self._idle.popleft()  # who has been idle longest: all of them are used
        if not connection.usable:
            self.reconnected += 1
            connection = await self._connected()
        try:
            phase.answers.append(await connection.ask(next(self._requests), due))
        finally:
            self._idle.append(connection)

    async def _connected(self) -> Connection:
        make: Callable[[], Connection] = Connection
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(make, "127.0.0.1", self._port)
        return connection
