"""The thread that owns the embedded broker's file, and commits operations in groups."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from prodkit.errors import UnavailableError
from prodkit.transports.embedded.queues import Queues, connect

T = TypeVar("T")
#: Operations that share one commit at most; enough to make the sync cheap, few enough to be fair.
_GROUP = 256


class _Job:
    """One operation on its way to the thread and back."""

    __slots__ = ("function", "future", "outcome", "writes")

    def __init__(
        self, function: Callable[[Queues], Any], future: asyncio.Future[Any], *, writes: bool
    ) -> None:
        self.function = function
        self.future = future
        self.writes = writes
        self.outcome: Any = None

    def resolve(self) -> None:
        _settle(self.future, self.outcome)


class QueueThread:
    """Runs operations on `Queues`, in the order they came, off the event loop.

    Operations that come together share one transaction, and so one sync of the disk; each has its
    savepoint, so that a failing one takes back nothing of its neighbours.
    """

    def __init__(self, path: str, *, name: str, wait: float) -> None:
        self._path = path
        self._name = name
        self._wait = wait
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: Thread | None = None

    @property
    def running(self) -> bool:
        """Whether operations are taken."""
        return self._thread is not None

    async def start(self) -> None:
        """Open the file in a new thread. Raises UnavailableError."""
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._jobs = jobs = SimpleQueue[_Job | None]()  # an earlier thread keeps its own
        thread = Thread(target=self._serve, args=(loop, opened, jobs), name=self._name, daemon=True)
        thread.start()
        try:
            await opened
        except asyncio.CancelledError:
            jobs.put(None)
            raise
        self._thread = thread

    async def stop(self) -> None:
        """Finish what was submitted, and close the file."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    def submit(self, function: Callable[[Queues], T], *, writes: bool) -> asyncio.Future[T]:
        """Have `function` run in the thread; the future ends after the commit, if it `writes`."""
        if self._thread is None:
            raise UnavailableError(f"{self._name} is not running", reason="BROKER_UNAVAILABLE")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(function, future, writes=writes))
        return future

    def _serve(
        self,
        loop: asyncio.AbstractEventLoop,
        opened: asyncio.Future[None],
        jobs: SimpleQueue[_Job | None],
    ) -> None:
        try:
            connection = connect(self._path, wait=self._wait)
        except sqlite3.Error as error:
            loop.call_soon_threadsafe(_settle, opened, self._unavailable(error))
            return
        loop.call_soon_threadsafe(_settle, opened, None)
        queues = Queues(connection)
        group = _next_group(jobs)
        while group:
            self._process(connection, queues, group)
            loop.call_soon_threadsafe(_resolve, group)
            group = _next_group(jobs)
        connection.close()

    def _process(
        self, connection: sqlite3.Connection, queues: Queues, group: Sequence[_Job]
    ) -> None:
        reads = [job for job in group if not job.writes]
        writes = [job for job in group if job.writes]
        for job in reads:
            job.outcome = self._outcome(job, queues)
        if not writes:
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in writes:
                self._apply(connection, queues, job)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for job in writes:
                job.outcome = self._unavailable(error)

    def _apply(self, connection: sqlite3.Connection, queues: Queues, job: _Job) -> None:
        connection.execute("SAVEPOINT job")
        job.outcome = self._outcome(job, queues)
        if isinstance(job.outcome, Exception):
            connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")

    def _outcome(self, job: _Job, queues: Queues) -> Any:
        try:
            return job.function(queues)
        except sqlite3.Error as error:
            return self._unavailable(error)
        except Exception as error:  # noqa: BLE001 - it is the caller's, and is raised there
            return error

    def _unavailable(self, error: sqlite3.Error) -> UnavailableError:
        failure = UnavailableError(
            "the broker cannot be reached", reason="BROKER_UNAVAILABLE", retry_after=1.0
        )
        failure.add_note(f"{self._name} cannot be reached: {error}")
        failure.__cause__ = error
        return failure


def _resolve(group: Sequence[_Job]) -> None:
    for job in group:
        job.resolve()


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():  # whoever asked was cancelled
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _next_group(jobs: SimpleQueue[_Job | None]) -> list[_Job]:
    """Wait for the next operation, and take along those that wait behind it."""
    group: list[_Job] = []
    job = jobs.get()
    while job is not None:
        group.append(job)
        if len(group) == _GROUP:
            break
        try:
            job = jobs.get_nowait()
        except Empty:
            break
    if job is None and group:
        jobs.put(None)
    return group
