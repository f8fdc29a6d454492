"""The runner: brings every saga in a database to its end, whatever dies in between."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Collection, Mapping
from contextvars import Context
from dataclasses import replace
from typing import Any

from prodkit._tasks import complete
from prodkit.call import CURRENT, Call, Kind, current_call, new_request_id
from prodkit.checks import Doorway
from prodkit.clock import SYSTEM_CLOCK, Alarm, Clock, seconds
from prodkit.data.database import Database, Transaction
from prodkit.data.saga import Progress, Saga, SagaStatus, StepRun, needs_attention
from prodkit.data.saga_store import SagaRecord, SagaStore
from prodkit.data.tasks import Loop, end
from prodkit.errors import (
    AbortedError,
    ConfigurationError,
    DeadlineExceededError,
    NotFoundError,
    ServiceError,
    UnavailableError,
)
from prodkit.pipeline import Pipeline, admit
from prodkit.telemetry.propagation import current_traceparent
from prodkit.traits import Trait

_BARE = Pipeline()
_log = logging.getLogger("prodkit.sagas")
_ELSEWHERE = 0.1  # seconds between looks at a saga that another process works on


class SagaRunner:
    """Runs sagas: those that `drive` asks for at once, all others when they are due.

    Progress is recorded after each step, under a lease that outlasts the longest step by `margin`
    seconds; after a crash the saga goes on when the lease has ended. A lease lost to another
    process is noticed by its fence: nothing more is recorded, and the step's idempotency key makes
    its repetition harmless. Each step is a call through `pipeline`, in the trace and the request
    that began the saga, with the step's time limit as deadline; calls that it makes inherit that.
    Where the pipeline has no telemetry, the logger `prodkit.sagas` tells of unexpected exceptions.
    Sagas of other names in the same database are left alone. Their table is that of
    `prodkit.data.saga_store.metadata`, for `Database.create_all`.
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
        self.store = SagaStore(database)
        #: How many sagas are running, compensating and in need of attention; some seconds old.
        self.counts: Mapping[SagaStatus, int] = {}
        self._sagas = {saga.name: saga for saga in sagas}
        longest = max((step.timeout for saga in sagas for step in saga.steps), default=0.0)
        self._lease = longest + seconds("margin", margin)
        self._retention = seconds("retention", retention)
        self._poll = seconds("poll", poll)
        self._concurrency = concurrency
        self._clock = clock
        self._observed = Trait.OBSERVES in pipeline.traits
        self._attempt = pipeline.bind(_perform)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._died: BaseException | None = None
        self._stopped = False
        self._count_at = 0.0
        self._loop = Loop(name, self._turn, clock=clock)

    async def start(self) -> None:
        """Resume what an earlier process left, and go on looking."""
        self._count_at = 0.0
        self._died = None
        self._stopped = False
        self._loop.start()

    async def wait(self) -> None:
        """Return when stopped; raise what it died of."""
        await self._loop.wait()

    async def stop(self, grace: float) -> None:
        """Let steps end within `grace` seconds; cancel and await the rest, which go on later."""
        self._stopped = True
        try:
            await self._loop.stop(0.0)
            await end(list(self._running.values()), grace)
        finally:
            await end(list(self._running.values()), 0.0)

    async def begin(self, tx: Transaction, saga: Saga, id_: str, state: Mapping[str, Any]) -> None:
        """Begin a saga in `tx`: it runs if, and only if, that commits.

        After the commit `drive` it, or call `wake`; else the next look finds it. `state` is what
        JSON can hold. Raises AlreadyExistsError.
        """
        if self._sagas.get(saga.name) is not saga:
            raise ConfigurationError(f"saga {saga.name} is not one of this runner's")
        call = current_call()
        record = SagaRecord(
            id_,
            saga.name,
            saga.begin(state),
            traceparent=current_traceparent() or "",
            request_id=(call and call.request_id) or new_request_id(),
        )
        await self.store.insert(tx, record, self._clock.wall())

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
            if not self._stopped:
                await self._finished(self._run_task(id_), end - self._clock.monotonic())
            record = await self.get(id_)
            left = end - self._clock.monotonic()
            if record.status.ended or left <= 0 or self._stopped:
                return record
            now = self._clock.wall()
            pause = record.progress.next_attempt - now
            if record.lease_until > now:
                pause = _ELSEWHERE
            if pause > left:
                return record
            await self._clock.sleep(max(pause, 0.0))

    async def resume(self, id_: str) -> None:
        """Try again what left a saga in need of attention. Raises NotFoundError."""
        if not await self.store.resume(id_, self._clock.wall()):
            raise NotFoundError(f"no saga {id_} that needs attention")
        self.wake()

    async def purge(self, tx: Transaction, /, *, limit: int = 1000) -> int:
        """Delete up to `limit` sagas that ended well before the retention; return how many."""
        return await self.store.purge(tx, self._clock.wall() - self._retention, limit)

    async def _turn(self) -> float:
        if self._died is not None:
            raise self._died
        free = self._concurrency - len(self._running)
        if free > 0:
            now = self._clock.wall()
            for id_ in await self.store.due(list(self._sagas), now, free):
                self._run_task(id_)
        if self._clock.monotonic() >= self._count_at:
            self._count_at = self._clock.monotonic() + 5.0
            self.counts = await self.store.counts()
        return self._poll

    def _run_task(self, id_: str) -> asyncio.Task[None]:
        """Return the task of a saga: one per process, so that `drive` and the loop never collide.

        It has a context of its own: the deadline and the caller of a request are not the saga's.
        """
        task = self._running.get(id_)
        if task is None:
            task = asyncio.create_task(self._run(id_), name=f"saga {id_}", context=Context())
            self._running[id_] = task
            task.add_done_callback(lambda done: self._forget(id_, done))
        return task

    def _forget(self, id_: str, task: asyncio.Task[None]) -> None:
        del self._running[id_]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._died = error
            self.wake()

    async def _finished(self, task: asyncio.Task[None], limit: float) -> None:
        """Wait for a task without owning it: neither the limit nor a cancellation reaches it."""
        done = asyncio.Event()
        task.add_done_callback(lambda _: done.set())
        timer = self._clock.call_later(max(limit, 0.0), done.set)
        try:
            await done.wait()
        finally:
            timer.cancel()

    async def _run(self, id_: str) -> None:
        record = None
        try:
            now = self._clock.wall()
            record = await self.store.acquire(id_, list(self._sagas), now, now + self._lease)
            while record is not None:
                record = await self._advance(record)
        except (UnavailableError, AbortedError):
            return  # the database is away: the lease will end, and the step repeats
        except asyncio.CancelledError:
            if record is not None:
                await complete(self._release(record))
            raise

    async def _release(self, record: SagaRecord) -> None:
        try:
            await self.store.release(record)
        except (UnavailableError, AbortedError):
            return  # then the lease ends by itself

    async def _advance(self, record: SagaRecord) -> SagaRecord | None:
        """Run one step and record what follows; None when there is nothing more to do now."""
        progress = await self._outcome(record)
        now = self._clock.wall()
        rests = progress.status.ended or progress.next_attempt > now
        until = 0.0 if rests else now + self._lease
        if not await complete(self.store.save(record, progress, now=now, until=until)) or rests:
            return None
        return replace(record, progress=progress)

    async def _outcome(self, record: SagaRecord) -> Progress:
        saga, progress = self._sagas[record.saga], record.progress
        step = saga.step(progress.step)
        if step is None:
            return needs_attention(progress, f"this version has no step {progress.step}")
        compensating = progress.status is SagaStatus.COMPENSATING
        function = step.compensate if compensating else step.action
        if function is None:
            return saga.succeeded(progress, None)  # this version need not undo it
        run = StepRun(record.id, step.name, progress.state, progress.attempts + 1, compensating)
        call = Call(
            f"{saga.name}.{step.name}" + (".compensate" if compensating else ""),
            # Work taken from a store, as a message from a queue: it continues the trace kept there.
            Kind.CONSUMER,
            metadata={"traceparent": record.traceparent} if record.traceparent else {},
            payload=(function, run),
            deadline=self._clock.monotonic() + step.timeout,
            key=run.key,
            safe=True,
            request_id=record.request_id,
        )
        call.attempt = run.attempt
        try:
            updates = await self._limited(call, step.timeout)
            json.dumps(updates, allow_nan=False)  # raises here, where it is the step's failure
            return saga.succeeded(progress, updates)
        except Exception as error:  # noqa: BLE001 - whatever a step raises is its outcome
            if not self._observed and not isinstance(error, ServiceError):
                _log.error("%s failed", call.operation, exc_info=error)
            return saga.failed(progress, error, self._clock.wall())

    async def _limited(self, call: Call, timeout: float) -> Mapping[str, Any] | None:
        CURRENT.set(call)
        alarm = Alarm(self._clock, timeout)
        try:
            return await self._attempt(call)
        except asyncio.CancelledError as error:
            if alarm.rang():
                raise DeadlineExceededError(f"{call.operation} took over {timeout} s") from None
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ServiceError("the step was cancelled from within") from error
        finally:
            alarm.stop()


async def _perform(call: Call) -> Mapping[str, Any] | None:
    function, run = call.payload
    updates: Mapping[str, Any] | None = await function(run)
    return updates
