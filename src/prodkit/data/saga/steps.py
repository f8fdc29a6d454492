"""One step of a saga, run as a call: what it was, and what follows from it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from prodkit.call import CURRENT, Call, Kind
from prodkit.clock import Alarm, Clock
from prodkit.data.database import Transaction
from prodkit.data.saga.definition import (
    Progress,
    Saga,
    SagaStatus,
    Step,
    StepFunction,
    StepResult,
    StepRun,
    needs_attention,
)
from prodkit.data.saga.store import SagaStore
from prodkit.data.saga.table import SagaRecord, as_kept
from prodkit.errors import AbortedError, ConfigurationError, DeadlineExceededError, ServiceError
from prodkit.pipeline import Pipeline
from prodkit.traits import Trait

_log = logging.getLogger("prodkit.sagas")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows from a step; `recorded` where the step has written that itself."""

    progress: Progress
    recorded: SagaRecord | None = None


class SagaSteps:
    """Runs the steps that records of `sagas` stand at, each as a call through `pipeline`."""

    def __init__(
        self,
        store: SagaStore,
        sagas: Mapping[str, Saga],
        pipeline: Pipeline,
        *,
        lease: float,
        clock: Clock,
    ) -> None:
        self._store = store
        self._sagas = sagas
        self._lease = lease
        self._clock = clock
        self._observed = Trait.OBSERVES in pipeline.traits
        self._attempt = pipeline.bind(_perform)

    async def run(self, record: SagaRecord) -> Outcome:
        """Run the step that is next; what it raises is its outcome."""
        saga, progress = self._sagas[record.saga], record.progress
        step = saga.step(progress.step)
        if step is None:
            return Outcome(needs_attention(progress, f"this version has no step {progress.step}"))
        compensating = progress.status is SagaStatus.COMPENSATING
        function = step.compensate if compensating else step.action
        if function is None:
            return Outcome(saga.succeeded(progress, None))  # this version need not undo it
        recorder = _Recorder(self._store, saga, record, lease=self._lease)
        call = self._call(record, step, function, recorder)
        try:
            updates = await self._limited(call, step.timeout)
            # Raises here what JSON cannot hold: it is the step's failure.
            progress = saga.succeeded(progress, as_kept(updates))
        except Exception as error:  # noqa: BLE001 - whatever a step raises is its outcome
            if not self._observed and not isinstance(error, ServiceError):
                _log.error("%s failed", call.operation, exc_info=error)
            progress = saga.failed(progress, error)
        if recorder.recorded is not None:
            return Outcome(recorder.recorded.progress, recorder.recorded)
        return Outcome(progress)

    def _call(
        self, record: SagaRecord, step: Step, function: StepFunction, recorder: _Recorder
    ) -> Call:
        progress = record.progress
        compensating = progress.status is SagaStatus.COMPENSATING
        attempt = progress.attempts + 1
        run = StepRun(record.id, step.name, progress.state, attempt, compensating, recorder)
        call = Call(
            f"{record.saga}.{step.name}" + (".compensate" if compensating else ""),
            # Work taken from a store, as a message from a queue: it continues the trace kept there.
            Kind.CONSUMER,
            metadata={"traceparent": record.traceparent} if record.traceparent else {},
            payload=(function, run),
            deadline=self._clock.monotonic() + step.timeout,
            key=run.key,
            safe=True,
            request_id=record.request_id,
        )
        call.attempt = attempt
        return call

    async def _limited(self, call: Call, timeout: float) -> StepResult:
        CURRENT.set(call)
        alarm = Alarm(self._clock, timeout)
        try:
            return await self._attempt(call)
        except asyncio.CancelledError as error:
            if alarm.rang():
                raise DeadlineExceededError(f"it took over {timeout:g} s") from None
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ServiceError("the step was cancelled from within") from error
        finally:
            alarm.stop()


class _Recorder:
    """Records that a step is done in the transaction of its effect: `StepRun.complete`."""

    def __init__(self, store: SagaStore, saga: Saga, held: SagaRecord, *, lease: float) -> None:
        self._store = store
        self._saga = saga
        self._held = held
        self._lease = lease
        #: Set once the transaction is committed.
        self.recorded: SagaRecord | None = None

    async def __call__(self, tx: Transaction, result: StepResult) -> None:
        if not self._store.keeps(tx):
            raise ConfigurationError("complete() takes a transaction of the sagas' own database")
        held = self._held
        progress = self._saga.succeeded(held.progress, as_kept(result))
        if not await self._store.record(tx, held, progress, lease=self._lease):
            raise AbortedError(f"saga {held.id} was lost to another", reason="SAGA_LEASE_LOST")
        recorded = replace(held, progress=progress, fence=held.fence + 1)
        tx.on_commit(lambda: self._keep(recorded))

    def _keep(self, recorded: SagaRecord) -> None:
        self.recorded = recorded


async def _perform(call: Call) -> StepResult:
    function, run = call.payload
    updates: StepResult = await function(run)
    return updates
