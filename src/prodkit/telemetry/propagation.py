"""W3C Trace Context level 2, by slices: which trace a call belongs to, in and out."""

from __future__ import annotations

from collections.abc import MutableMapping

from opentelemetry import trace
from opentelemetry.trace import SpanContext, TraceState

#: trace id, id of the parent span, flags
Parent = tuple[int, int, int]

SAMPLED = 0x01
#: Level 2: the last 56 bits of the trace id are random, so a ratio may be taken over them.
RANDOM = 0x02

_LENGTH = 55  # version, trace id, span id and flags in hex with their dashes
_TRACESTATE_LIMIT = 512  # characters that the standard asks everybody to carry


def parse(header: str) -> Parent | None:
    """Read a `traceparent` header; None where the standard says to start anew."""
    try:
        version = int(header[:2], 16)
        trace_id = int(header[3:35], 16)
        span_id = int(header[36:52], 16)
        flags = int(header[53:55], 16)
    except ValueError:
        return None
    # int() is laxer than the standard (case, underscores, signs); writing it again is not
    if header[:_LENGTH] != f"{version:02x}-{trace_id:032x}-{span_id:016x}-{flags:02x}":
        return None
    if trace_id <= 0 or span_id <= 0 or flags < 0 or not 0 <= version < 0xFF:
        return None
    if len(header) > _LENGTH and (version == 0 or header[_LENGTH] != "-"):
        return None
    return trace_id, span_id, flags


def format_traceparent(context: SpanContext) -> str:
    """Write the `traceparent` header, version 00."""
    flags = context.trace_flags & (SAMPLED | RANDOM)
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"


def parse_tracestate(header: str | None) -> TraceState | None:
    """Read a `tracestate` header that is carried on unread; one that is too long is dropped."""
    if not header or len(header) > _TRACESTATE_LIMIT:
        return None
    return TraceState.from_header([header])


def current_traceparent() -> str | None:
    """Return the `traceparent` of the current span, for what must outlive the task (an outbox)."""
    context = trace.get_current_span().get_span_context()
    return format_traceparent(context) if context.is_valid else None


def inject(headers: MutableMapping[str, str]) -> None:
    """Add the current span to the headers of an outbound call. Baggage does not travel."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return
    headers["traceparent"] = format_traceparent(context)
    if context.trace_state:
        headers["tracestate"] = context.trace_state.to_header()
