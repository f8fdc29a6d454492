"""The one middleware that looks at a call: its span, its metrics and its access line at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from opentelemetry import trace
from opentelemetry.context import attach, detach, get_current
from opentelemetry.trace import Span

from prodkit.call import Call, Kind
from prodkit.errors import FAILURE_CODES, Code
from prodkit.events import Event
from prodkit.pipeline import Next
from prodkit.telemetry import spans
from prodkit.telemetry.access import access_line
from prodkit.telemetry.kept_span import KeptSpan
from prodkit.telemetry.logs import encode_line
from prodkit.telemetry.outcome import Outcome, outcome_of
from prodkit.telemetry.series import Series
from prodkit.telemetry.telemetry import LEVELS, Telemetry
from prodkit.telemetry.traces import context_of
from prodkit.traits import Trait

T = TypeVar("T")

# An Enum's attributes are slow to reach.
_SERVER, _CANCELLED = Kind.SERVER, Code.CANCELLED
_INBOUND = frozenset({Kind.SERVER, Kind.CONSUMER})


class Observe:
    """Traces, counts and logs every call of a pipeline; put it first, around everything else.

    One span, one count, one duration, one access line a call, a stream being one call. Works at
    every door and for every kind: inbound calls continue their caller's trace, others the current
    span's. What policies emit becomes metrics and span events, and a line where the event asks for
    one; what bulkheads and shedders beside it hold, and the states of breakers, become gauges.
    Unexpected exceptions are logged with their stack; spans and metrics tell their type alone.
    Cancellation is no error.
    """

    traits = Trait.OBSERVES

    __slots__ = ("_hear", "_series", "_telemetry")

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._series: dict[tuple[str, Kind], Series] = {}
        self._hear = self._heard  # bound once

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        """Answer `call`, watching it."""
        telemetry = self._telemetry
        raw = call.operation
        if call.kind in _INBOUND:
            span = telemetry.spans.inbound(call)
            token = attach(context_of(span, telemetry.context))
        else:
            span = telemetry.spans.outbound(call)
            token = attach(context_of(span, get_current()))
        if call.listener is None:
            call.listener = self._hear
        else:
            call.subscribe(self._hear)
        started = telemetry.clock.monotonic()
        error: BaseException | None = None
        try:
            return await proceed(call)
        except BaseException as caught:
            error = caught
            raise
        finally:
            now = telemetry.clock.monotonic()
            self._finish(outcome_of(call, raw, now - started, error, telemetry.redactor), span, now)
            error = None  # its traceback holds this frame: no work for the garbage collector
            detach(token)

    def watch(self, members: Iterable[object]) -> None:
        """Show what the other `members` hold, as gauges; `Pipeline.admit` calls it."""
        for member in members:
            self._telemetry.metrics.watch(member)

    def _finish(self, outcome: Outcome, span: Span, now: float) -> None:
        telemetry, call, code = self._telemetry, outcome.call, outcome.code
        series = self._series.get((call.transport, call.kind)) or self._declared(call)
        series.record(outcome.operation, outcome.status, code, outcome.seconds)
        if call.kind is _SERVER and code is not _CANCELLED:
            telemetry.availability.record(now, failed=code in FAILURE_CODES)
        if LEVELS[outcome.level] >= telemetry.threshold:
            line = access_line(outcome, telemetry.service, span, telemetry.redactor)
            telemetry.log.write(encode_line(line))
        if type(span) is KeptSpan:  # isinstance runs the abc module
            spans.complete(span, outcome, telemetry.redactor)

    def _declared(self, call: Call) -> Series:
        series = self._telemetry.metrics.series(call.transport, call.kind)
        self._series[call.transport, call.kind] = series
        return series

    def _heard(self, call: Call, event: Event) -> None:
        telemetry = self._telemetry
        telemetry.metrics.count(event)
        span = trace.get_current_span()
        if span.is_recording():
            spans.record_event(span, event, telemetry.redactor)
        if event.level:
            telemetry.line(event, call)
