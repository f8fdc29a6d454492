"""The runner: brings every saga in a database to its end, whatever dies in between."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Collection, Mapping
from contextvars import Context
from typing import Any

from prodkit.call import Kind, current_call, new_request_id
from prodkit.checks import Doorway
from prodkit.clock import SYSTEM_CLOCK, Clock, seconds
from prodkit.data.database import Database, Transaction
from prodkit.data.owner_files import OwnerFiles
from prodkit.data.saga.definition import Saga, SagaStatus
from prodkit.data.saga.desk import SagaDesk
from prodkit.data.saga.driver import SagaDriver
from prodkit.data.saga.steps import SagaSteps
from prodkit.data.saga.store import SagaStore
from prodkit.data.saga.table import SagaRecord, as_kept
from prodkit.data.tasks import Loop, end
from prodkit.errors import AbortedError, ConfigurationError, NotFoundError, UnavailableError
from prodkit.pipeline import Pipeline, admit
from prodkit.telemetry.propagation import current_traceparent

_BARE = Pipeline()
_ELSEWHERE = 0.1  # seconds between looks at a saga that another process works on


class SagaRunner:
    """Runs sagas: those that begin here at once, all others when they are due.

    Progress is recorded after each step, under a lease that outlasts the longest step by `margin`
    seconds; after a crash the saga goes on when the lease has ended, or at once where the death can
    be known, as over SQLite (`prodkit.data.owner_files`). A lease lost to another process is
    noticed by its fence: nothing more is recorded, and the step's idempotency key makes its
    repetition harmless. Each step is a call through `pipeline`, in the trace and the request
    that began the saga, with the step's time limit as deadline; calls that it makes inherit that.
    Where the pipeline has no telemetry, the logger `prodkit.sagas` tells of unexpected exceptions.
    Sagas of other names in the same database are left alone. Their table is that of
    `prodkit.data.saga.store.metadata`, for `Database.create_all`.

    A saga of n steps costs the transaction that begins it and one more a step; none for a step
    that records itself with its effect (`StepRun.complete`).
    """

    def __init__(
        self,
        database: Database,
        sagas: Collection[Saga],
        *,
        name: str = "sagas",
        pipeline: Pipeline = _BARE,
        concurrency: int = 16,
        poll: float = 1.0,
        margin: float = 5.0,
        retention: float = 90 * 86400.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if concurrency < 1:
            raise ConfigurationError(f"concurrency must be at least 1, not {concurrency!r}")
        admit(pipeline, Doorway(name, Kind.CONSUMER, principal=True))
        self.name = name
        owner = f"{socket.gethostname()}:{os.getpid()}:{new_request_id()[:16]}"
        self.store = SagaStore(database, owner=owner, clock=clock)
        self._living = OwnerFiles(database, "sagas")
        #: How many sagas are running, compensating and in need of attention; some seconds old.
        self.counts: Mapping[SagaStatus, int] = {}
        self._sagas = {saga.name: saga for saga in sagas}
        longest = max((step.timeout for saga in sagas for step in saga.steps), default=0.0)
        self._margin = seconds("margin", margin)
        self._lease = longest + self._margin
        self._retention = seconds("retention", retention)
        self._poll = seconds("poll", poll)
        self._concurrency = concurrency
        self._clock = clock
        steps = SagaSteps(self.store, self._sagas, pipeline, lease=self._lease, clock=clock)
        self._driver = SagaDriver(self.store, steps, list(self._sagas), lease=self._lease)
        self._running: dict[str, asyncio.Task[SagaRecord | None]] = {}
        #: Those that the database was away from: leased by us, or not, it could not tell.
        self._unsure: set[str] = set()
        self._died: BaseException | None = None
        self._started = False
        self._stopped = False
        self._count_at = 0.0
        self._loop = Loop(name, self._turn, clock=clock)

    async def start(self) -> None:
        """Resume what an earlier process left, and go on looking."""
        await self._living.hold(self.store.owner)
        self._count_at = 0.0
        self._died = None
        self._started, self._stopped = True, False
        self._loop.start()

    async def wait(self) -> None:
        """Return when stopped; raise what it died of."""
        await self._loop.wait()

    async def stop(self, grace: float) -> None:
        """Let steps end within `grace` seconds; cancel and await the rest, which go on later."""
        self._started, self._stopped = False, True
        try:
            await self._loop.stop(0.0)
            await end(list(self._running.values()), grace)
        finally:
            await end(list(self._running.values()), 0.0)
            await self._living.drop(self.store.owner)

    async def begin(self, tx: Transaction, saga: Saga, id_: str, state: Mapping[str, Any]) -> None:
        """Begin a saga in `tx`: it runs if, and only if, that commits.

        It is leased in the same transaction and runs here from the commit on, while this runner
        is started and has a place free; else `drive` it, or the next look of some runner finds it.
        `state` is what JSON can hold. Raises AlreadyExistsError.
        """
        if self._sagas.get(saga.name) is not saga:
            raise ConfigurationError(f"saga {saga.name} is not one of this runner's")
        call, here = current_call(), self._started and len(self._running) < self._concurrency
        record = SagaRecord(
            id_,
            saga.name,
            saga.begin(as_kept(state)),
            tuple(step.name for step in saga.steps),
            traceparent=current_traceparent() or "",
            request_id=(call and call.request_id) or new_request_id(),
        )
        await self.store.insert(tx, record, lease=self._lease if here else 0.0)
        if here:
            begun = self._clock.monotonic()
            tx.on_commit(lambda: self._begun(record, begun))

    def _begun(self, record: SagaRecord, at: float) -> None:
        # What took long to commit has little of its lease left: then it is leased anew.
        fresh = self._clock.monotonic() - at < self._margin / 2
        if self._started:
            self._run_task(record.id, record if fresh else None)

    def wake(self) -> None:
        """Look for work now."""
        self._loop.wake()

    async def get(self, id_: str) -> SagaRecord:
        """Return one saga. Raises NotFoundError."""
        record = await self.store.get(id_)
        if record is None:
            raise NotFoundError(f"no saga {id_}")
        return record

    async def drive(self, id_: str, *, within: float) -> SagaRecord:
        """Run a saga now, and return when it has ended, or as far as it came `within` seconds.

        It also returns when the next attempt lies beyond that time. The saga goes on in the
        background, also when the caller is cancelled. Raises NotFoundError.
        """
        end = self._clock.monotonic() + within
        while True:
            record = None
            if not self._stopped:
                record = await self._ran(self._run_task(id_), end - self._clock.monotonic())
            record = record or await self.get(id_)
            left = end - self._clock.monotonic()
            if record.status.ended or left <= 0 or self._stopped:
                return record
            pause = _ELSEWHERE if record.lease_left > 0 else record.progress.wait
            if pause > left:
                return record
            await self._clock.sleep(pause)

    async def resume(self, id_: str) -> None:
        """Try again what left a saga in need of attention: `SagaDesk.retry`, and look at once."""
        await SagaDesk(self.store.database, clock=self._clock).retry(id_)
        self.wake()

    async def purge(self, tx: Transaction, /, *, limit: int = 1000) -> int:
        """Delete up to `limit` sagas that ended well before the retention; return how many."""
        return await self.store.purge(tx, self._retention, limit)

    async def _turn(self) -> float:
        if self._died is not None:
            raise self._died
        if self._clock.monotonic() >= self._count_at:
            self._count_at = self._clock.monotonic() + 5.0
            await self._bury()
            self.counts = await self.store.counts()
        free = self._concurrency - len(self._running)
        if free > 0:
            due = [*self._unsure, *await self.store.due(list(self._sagas), free)]
            for id_ in due[:free]:
                self._unsure.discard(id_)
                self._run_task(id_)
        return self._poll

    async def _bury(self) -> None:
        """End the leases of runners that died, where that can be known."""
        async with self._living.dead() as owners:
            if owners:
                await self.store.evict(owners)

    def _run_task(
        self, id_: str, held: SagaRecord | None = None
    ) -> asyncio.Task[SagaRecord | None]:
        """Return the task of a saga: one per process, so that `drive` and the loop never collide.

        It has a context of its own: the deadline and the caller of a request are not the saga's.
        """
        task = self._running.get(id_)
        if task is None:
            run = self._run(id_, held)
            task = asyncio.create_task(run, name=f"saga {id_}", context=Context())
            self._running[id_] = task
            task.add_done_callback(lambda done: self._forget(id_, done))
        return task

    async def _run(self, id_: str, held: SagaRecord | None) -> SagaRecord | None:
        try:
            return await self._driver.run(id_, held)
        except (UnavailableError, AbortedError):
            self._unsure.add(id_)  # the next turn looks, once the database is back
            return None

    def _forget(self, id_: str, task: asyncio.Task[SagaRecord | None]) -> None:
        del self._running[id_]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._died = error
            self.wake()

    async def _ran(self, task: asyncio.Task[SagaRecord | None], limit: float) -> SagaRecord | None:
        """Wait for a task without owning it: neither the limit nor a cancellation reaches it.

        Return what it returned, if it did in time.
        """
        done = asyncio.Event()
        task.add_done_callback(lambda _: done.set())
        timer = self._clock.call_later(max(limit, 0.0), done.set)
        try:
            await done.wait()
        finally:
            timer.cancel()
        if not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()
