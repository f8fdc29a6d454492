"""The access line: what one call was, where it belongs, how it ended and why."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime

import msgspec
from opentelemetry.trace import Span

from prodkit.call import Kind
from prodkit.errors import Code, RejectedError, ServiceError
from prodkit.security.redaction import Redactor
from prodkit.telemetry.outcome import Outcome, notes_of
from prodkit.telemetry.traces import UnkeptSpan

# An index costs less than an enum's `name` and `value`, which are properties.
_CODES = tuple(code.name for code in Code)
_KINDS = {kind: kind.value for kind in Kind}


class AccessLine(msgspec.Struct, omit_defaults=True):
    """One line for one call, streams included; what is empty after `code` is left out.

    `duration` is in seconds. `path` is the raw path without its query and without secrets.
    """

    timestamp: datetime
    level: str
    event: str
    service: str
    trace_id: str
    span_id: str
    request_id: str
    kind: str
    transport: str
    operation: str
    duration: float
    code: str
    status: int = 0
    path: str = ""
    principal: str = ""
    attempt: int = 1
    error: str = ""
    reason: str = ""
    message: str = ""
    notes: str = ""
    policy: str = ""
    measured: float | None = None
    threshold: float | None = None
    retry_after: float | None = None
    exception: str = ""


def access_line(outcome: Outcome, service: str, span: Span, redactor: Redactor) -> AccessLine:
    """Return the line of a call that ended."""
    call = outcome.call
    ids = span if isinstance(span, UnkeptSpan) else span.get_span_context()
    line = AccessLine(
        datetime.now(UTC),
        outcome.level,
        "call",
        service,
        f"{ids.trace_id:032x}",
        f"{ids.span_id:016x}",
        call.request_id,
        _KINDS[call.kind],
        call.transport,
        outcome.operation,
        outcome.seconds,
        _CODES[outcome.code],
        outcome.status,
        outcome.path,
        "" if call.principal is None else call.principal.subject,
        call.attempt,
    )
    if outcome.error is not None:
        _explain(line, outcome.error, redactor)
    return line


def _explain(line: AccessLine, error: BaseException, redactor: Redactor) -> None:
    """Say what went wrong: a refusal with its figures, an unexpected error with its stack."""
    line.error = type(error).__qualname__
    if isinstance(error, RejectedError):
        line.policy = error.policy
        line.measured = error.measured
        line.threshold = error.threshold
    if isinstance(error, ServiceError):
        line.reason = error.reason
        line.message = redactor.text(error.message)
        line.notes = redactor.text(notes_of(error))
        line.retry_after = error.retry_after
    elif isinstance(error, Exception):
        line.exception = redactor.text("".join(traceback.format_exception(error)))
