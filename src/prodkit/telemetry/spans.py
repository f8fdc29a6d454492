"""What a span says: name, attributes, events and status, in OpenTelemetry's current names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from enum import Enum

from opentelemetry.trace import Span, StatusCode
from opentelemetry.util.types import AttributeValue

from prodkit.call import Call, Kind
from prodkit.errors import Code, RejectedError, ServiceError
from prodkit.events import Event
from prodkit.security.redaction import Redactor
from prodkit.telemetry import semconv
from prodkit.telemetry.kept_span import KeptSpan
from prodkit.telemetry.outcome import Outcome, notes_of

Attributes = dict[str, AttributeValue]

# An Enum's attributes are slow to reach.
_SERVER, _OK, _CANCELLED = Kind.SERVER, Code.OK, Code.CANCELLED
#: What the conventions call an error of a server; what its caller did wrong is none.
_SERVER_ERRORS = frozenset(
    {Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.UNIMPLEMENTED, Code.INTERNAL}
    | {Code.UNAVAILABLE, Code.DATA_LOSS}
)


def initial_name(call: Call) -> str:
    """Return a name of few values for a call that has not been routed yet."""
    if call.transport == "http":
        method, _, target = call.operation.partition(" ")
        if call.kind is Kind.CLIENT and target.startswith("/"):  # a template, not a host
            return call.operation
        return method if method in semconv.HTTP_METHODS else "HTTP"
    if call.transport == "message":
        return f"{_message_verb(call.kind)} {call.operation}"
    return call.operation.removeprefix("/")


def complete(span: KeptSpan, outcome: Outcome, redactor: Redactor) -> None:
    """End a span, saying how its call went; its exception by name, never by its stack."""
    call = outcome.call
    attributes: Attributes = {}
    if outcome.code is not _OK:
        attributes[semconv.CODE] = outcome.code.name
    if call.request_id:
        attributes[semconv.REQUEST_ID] = call.request_id
    if call.attempt > 1:
        attributes[semconv.ATTEMPT] = call.attempt
    describe = _DESCRIBE.get(call.transport)
    if describe is not None:
        describe(attributes, outcome)
    if isinstance(outcome.error, Exception):  # cancelled is neither success nor failure
        _explain(span, attributes, outcome.error, redactor)
    if _failed(outcome):
        attributes.setdefault(semconv.ERROR_TYPE, str(outcome.status or outcome.code.name))
        span.set_status(StatusCode.ERROR)
    name = outcome.operation if outcome.path and outcome.matched else None
    span.close(name, attributes)


def record_event(span: Span, event: Event, redactor: Redactor) -> None:
    """Put what a policy told of on a recorded span: an event, and its name in an attribute.

    Few backends search in events, all of them in attributes.
    """
    name = type(event).__name__
    attributes: Attributes = {semconv.POLICY: event.policy}
    attributes.update((f"prodkit.{name}", value) for name, value in event_fields(event, redactor))
    span.add_event(name, attributes)
    heard = (getattr(span, "attributes", None) or {}).get(semconv.EVENTS, ())
    if name not in heard:
        span.set_attribute(semconv.EVENTS, (*heard, name))


def event_fields(event: Event, redactor: Redactor) -> list[tuple[str, str | float | bool]]:
    """Return the fields of an event, apart from its policy, as plain values without secrets."""
    told = {}
    for field in fields(event):
        value = getattr(event, field.name)
        if field.name != "policy" and value is not None:
            told[field.name] = value.name if isinstance(value, Enum) else value
    return [
        (name, value if isinstance(value, (str, int, float)) else str(value))
        for name, value in redactor.fields(told).items()
    ]


def _explain(span: Span, attributes: Attributes, error: Exception, redactor: Redactor) -> None:
    name = type(error).__qualname__
    attributes[semconv.ERROR_TYPE] = error.reason if isinstance(error, ServiceError) else name
    details: Attributes = {"exception.type": name}
    if isinstance(error, ServiceError):  # its message may be shown; any other's may hold anything
        details["exception.message"] = redactor.text(error.message)
        if notes := notes_of(error):
            details[semconv.NOTES] = redactor.text(notes)
    if isinstance(error, RejectedError):
        attributes[semconv.POLICY] = error.policy
        attributes[semconv.MEASURED] = error.measured
        attributes[semconv.THRESHOLD] = error.threshold
        if error.retry_after is not None:
            attributes[semconv.RETRY_AFTER] = error.retry_after
    span.add_event("exception", details)


def _failed(outcome: Outcome) -> bool:
    if outcome.code is _CANCELLED:
        return False
    if outcome.call.kind is _SERVER:
        return outcome.status >= 500 if outcome.status else outcome.code in _SERVER_ERRORS
    return outcome.code is not _OK


def _http(attributes: Attributes, outcome: Outcome) -> None:
    method, _, template = outcome.operation.partition(" ")
    if method in semconv.HTTP_METHODS:
        attributes[semconv.HTTP_METHOD] = method
    else:
        attributes[semconv.HTTP_METHOD] = semconv.OTHER
        attributes[semconv.HTTP_METHOD_ORIGINAL] = method[:32]
    if outcome.path:
        attributes[semconv.URL_PATH] = outcome.path
        if outcome.matched:
            attributes[semconv.HTTP_ROUTE] = template
    if outcome.status:
        attributes[semconv.HTTP_STATUS] = outcome.status


def _rpc(attributes: Attributes, outcome: Outcome) -> None:
    attributes[semconv.RPC_SYSTEM] = "grpc"
    attributes[semconv.RPC_METHOD] = outcome.operation.removeprefix("/")
    attributes[semconv.RPC_STATUS] = outcome.code.name


def _message(attributes: Attributes, outcome: Outcome) -> None:
    attributes[semconv.MESSAGING_OPERATION] = _message_verb(outcome.call.kind)
    attributes[semconv.MESSAGING_DESTINATION] = outcome.operation.partition(" ")[0]


def _message_verb(kind: Kind) -> str:
    return "send" if kind is Kind.PRODUCER else "process"


_DESCRIBE: dict[str, Callable[[Attributes, Outcome], None]] = {
    "http": _http,
    "websocket": _http,
    "grpc": _rpc,
    "message": _message,
}
