"""Spans: the sampling decision first, then a span of the SDK, only where the trace is kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import getrandbits
from typing import cast

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
)
from opentelemetry.util.types import Attributes

from prodkit.call import Call, Kind
from prodkit.telemetry import semconv
from prodkit.telemetry.kept_span import KeptSpan, Processors, Workshop
from prodkit.telemetry.propagation import RANDOM, SAMPLED, parse, parse_tracestate
from prodkit.telemetry.spans import initial_name

_RANDOM_BITS = 56  # what level 2 promises of a trace id
_RANDOM_MASK = (1 << _RANDOM_BITS) - 1
_NOWHERE = Context()
#: The API keeps the key to itself, but shows what it puts there.
(_SPAN_KEY,) = trace.set_span_in_context(trace.INVALID_SPAN, _NOWHERE)
_KINDS = {kind: SpanKind[kind.name] for kind in Kind}
_KEPT = TraceFlags(SAMPLED | RANDOM)


class RatioSampler(Sampler):
    """Keeps a share of all traces, chosen by the random bits of the trace id.

    Every process with the same ratio chooses the same traces.
    """

    def __init__(self, ratio: float) -> None:
        if not 0 <= ratio <= 1:
            raise ValueError(f"sample_ratio must be between 0 and 1, not {ratio!r}")
        self.ratio = ratio
        self.bound = round(ratio * (1 << _RANDOM_BITS))

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide over the trace id alone."""
        kept = trace_id & _RANDOM_MASK < self.bound
        return SamplingResult(Decision.RECORD_AND_SAMPLE if kept else Decision.DROP, attributes)

    def get_description(self) -> str:
        """Return what the SDK shows of this sampler."""
        return f"prodkit.RatioSampler({self.ratio})"


class _Ids(IdGenerator):
    """Ids by getrandbits: a tenth of uuid4; 2 ** -64 is often enough to rule zero out."""

    def generate_span_id(self) -> int:
        return getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        return getrandbits(128) or 1

    def is_trace_id_random(self) -> bool:
        return True


def tracer_provider(
    service: str, *, sample_ratio: float = 0.01, processors: Iterable[SpanProcessor] = ()
) -> TracerProvider:
    """Build the SDK's provider for one service; services of a process may share `processors`."""
    provider = TracerProvider(
        sampler=ParentBased(RatioSampler(sample_ratio)),
        resource=Resource.create({semconv.SERVICE_NAME: service}),
        id_generator=_Ids(),
        active_span_processor=Processors(),  # type: ignore[no-untyped-call]  # the SDK's __init__
        shutdown_on_exit=False,
    )
    for processor in processors:
        provider.add_span_processor(processor)
    return provider


class UnkeptSpan(NonRecordingSpan):
    """The span of a trace that is not kept: ids to log and to hand on, and no more.

    Most calls have one, and few ever ask for its SpanContext, so that is made when they do.
    """

    def __init__(self, trace_id: int, flags: int, state: TraceState | None = None) -> None:
        self.trace_id = trace_id
        self.span_id = getrandbits(64) or 1
        self._flags = flags
        self._state = state

    def get_span_context(self) -> SpanContext:
        """Return the ids as OpenTelemetry wants them."""
        flags = TraceFlags(self._flags)
        return SpanContext(self.trace_id, self.span_id, False, flags, self._state)


def context_of(span: Span, base: Context) -> Context:
    """Return `base` with `span` as the current one; a third of what set_span_in_context costs."""
    return Context({**base, _SPAN_KEY: span})


class SpanStarter:
    """Begins the span of a call: a real one if the trace is kept, else one that only has ids."""

    __slots__ = ("_bound", "_processors", "_workshop")

    def __init__(self, provider: TracerProvider, sample_ratio: float) -> None:
        self._bound = RatioSampler(sample_ratio).bound
        tracer = cast("Tracer", provider.get_tracer("prodkit"))
        self._processors = cast("Processors", tracer.span_processor)
        self._workshop = Workshop(provider, self._processors)

    def inbound(self, call: Call) -> Span:
        """Begin the span of a call that came in, under the caller's span if it told us of one.

        A stranger's sampled flag is not believed, nor do we decide over a trace id that a stranger
        chose: at an edge the trace goes on under its id, by a draw of our own.
        """
        header = call.metadata.get("traceparent")
        parent = parse(header) if header else None
        if parent is None:
            return self._root(call)
        trace_id, span_id, flags = parent
        if call.edge:
            flags &= ~SAMPLED
            flags |= getrandbits(_RANDOM_BITS) < self._bound
            state = None
        else:
            state = parse_tracestate(call.metadata.get("tracestate"))
        if not flags & SAMPLED:
            return UnkeptSpan(trace_id, flags & RANDOM, state)
        remote = SpanContext(trace_id, span_id, True, TraceFlags(flags), state)
        # a message is handled when it is handled: the conventions ask for a link beside the parent
        links = (Link(remote),) if call.kind is Kind.CONSUMER else ()
        return self._child(call, remote, links, context_of(NonRecordingSpan(remote), _NOWHERE))

    def outbound(self, call: Call) -> Span:
        """Begin a span under the current one; in a trace that is not kept that one serves on."""
        current = trace.get_current_span()
        context = current.get_span_context()
        if not context.is_valid:
            return self._root(call)
        if not context.trace_flags.sampled:
            return NonRecordingSpan(context)
        return self._child(call, context, (), None)

    def _root(self, call: Call) -> Span:
        trace_id = getrandbits(128) or 1
        if trace_id & _RANDOM_MASK >= self._bound:
            return UnkeptSpan(trace_id, RANDOM)
        context = SpanContext(trace_id, getrandbits(64) or 1, False, _KEPT)
        span = KeptSpan(self._workshop, initial_name(call), context, None, _KINDS[call.kind])
        if self._processors.hear_starts:
            span.build(_NOWHERE)
        return span

    def _child(
        self, call: Call, parent: SpanContext, links: Sequence[Link], within: Context | None
    ) -> KeptSpan:
        flags = TraceFlags(parent.trace_flags & (SAMPLED | RANDOM))
        state = parent.trace_state
        context = SpanContext(parent.trace_id, getrandbits(64) or 1, False, flags, state)
        name, kind = initial_name(call), _KINDS[call.kind]
        span = KeptSpan(self._workshop, name, context, parent, kind, links)
        if self._processors.hear_starts:
            span.build(within)
        return span
