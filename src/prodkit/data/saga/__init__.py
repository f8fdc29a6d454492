"""Sagas: durable sequences of steps with their compensations, and who runs and inspects them."""

from prodkit._extras import extra

with extra("sql", of=__name__):
    import sqlalchemy  # noqa: F401 - what the modules below need

from prodkit.data.saga.definition import (
    CompensateError,
    Progress,
    Saga,
    SagaStatus,
    Step,
    StepFunction,
    StepResult,
    StepRun,
)
from prodkit.data.saga.desk import KeptSaga, SagaDesk
from prodkit.data.saga.runner import SagaRunner
from prodkit.data.saga.store import SagaStore
from prodkit.data.saga.table import SagaRecord, metadata

__all__ = [
    "CompensateError",
    "KeptSaga",
    "Progress",
    "Saga",
    "SagaDesk",
    "SagaRecord",
    "SagaRunner",
    "SagaStatus",
    "SagaStore",
    "Step",
    "StepFunction",
    "StepResult",
    "StepRun",
    "metadata",
]
