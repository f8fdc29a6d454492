"""The span of a call whose trace is kept: the SDK's, built only if somebody writes on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from time import time_ns
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import (
    ReadableSpan,
    SpanLimits,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util.types import Attributes, AttributeValue

_STARTS_UNHEARD = frozenset(
    {SpanProcessor.on_start, BatchSpanProcessor.on_start, SimpleSpanProcessor.on_start}
)
_building = Lock()


class Processors(SynchronousMultiSpanProcessor):
    """The processors of a provider, and whether any of them looks at spans that begin."""

    hear_starts = False

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Add one, at any time; spans begun from then on pass through it."""
        if type(span_processor).on_start not in _STARTS_UNHEARD:
            self.hear_starts = True
        super().add_span_processor(span_processor)


class Workshop:
    """What the spans of one provider have in common."""

    __slots__ = ("limits", "processors", "provider", "resource", "scope")

    def __init__(self, provider: TracerProvider, processors: Processors) -> None:
        self.provider = provider
        self.processors = processors
        self.resource = provider.resource
        self.limits = SpanLimits()
        self.scope = InstrumentationScope("prodkit")


class _BuiltSpan(SdkSpan):
    """The SDK's span; only its tracers may make one of the base class."""


class KeptSpan(trace.Span):
    """A recorded span that costs a fifth of the SDK's until somebody else writes on it.

    Between its begin and its end most calls' spans are touched by nobody: what is known at the end
    goes to the processors as the SDK's ReadableSpan. The first attribute, event, link or status
    that a handler adds, and any processor that looks at spans that begin, makes it an SDK span with
    the same ids and start, which limits and cleans what it is given. What only the SDK's spans have
    (`name`, `attributes`, `parent`...) can be read on this one too.
    """

    def __init__(
        self,
        workshop: Workshop,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        links: Sequence[Link] = (),
    ) -> None:
        self._workshop = workshop
        self._name = name
        self._context = context
        self._parent = parent
        self._kind = kind
        self._links = links
        self._built: SdkSpan | None = None
        self._ended = False
        self._start_time = time_ns()

    def build(self, within: Context | None = None) -> SdkSpan:
        """Return the SDK's span; its processors are told that it began `within` that context."""
        with _building:  # a handler's threads may write on it at the same time
            if self._built is None:
                shop = self._workshop
                self._built = _BuiltSpan(
                    self._name,
                    self._context,
                    self._parent,
                    shop.provider.sampler,
                    resource=shop.resource,
                    links=self._links,
                    kind=self._kind,
                    span_processor=shop.processors,
                    limits=shop.limits,
                    instrumentation_scope=shop.scope,
                )
                self._built.start(self._start_time, within)
            return self._built

    def close(self, name: str | None, attributes: Mapping[str, AttributeValue]) -> None:
        """End it with `attributes`, ours and hence clean, under `name` if there is a better one."""
        if self._built is not None:
            if name is not None:
                self._built.update_name(name)
            self._built.set_attributes(attributes)
            self._built.end()
        elif not self._ended:
            self._ended = True
            shop = self._workshop
            span = ReadableSpan(
                name or self._name,
                self._context,
                self._parent,
                shop.resource,
                attributes,
                links=self._links,
                kind=self._kind,
                start_time=self._start_time,
                end_time=time_ns(),
                instrumentation_scope=shop.scope,
            )
            shop.processors.on_end(span)

    def _open(self) -> trace.Span:
        """Return what may be written on: nothing, after the end."""
        return NonRecordingSpan(self._context) if self._ended else self.build()

    def end(self, end_time: int | None = None) -> None:
        """End it before its call does; what comes later is not recorded."""
        self._open().end(end_time)

    def get_span_context(self) -> SpanContext:
        """Return its ids."""
        return self._context

    def is_recording(self) -> bool:
        """Say whether it has not ended."""
        return not self._ended if self._built is None else self._built.is_recording()

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Do as the SDK's span does."""
        self._open().set_attributes(attributes)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Do as the SDK's span does."""
        self._open().set_attribute(key, value)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """Do as the SDK's span does."""
        self._open().add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Do as the SDK's span does."""
        self._open().add_link(context, attributes)

    def update_name(self, name: str) -> None:
        """Do as the SDK's span does."""
        self._open().update_name(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Do as the SDK's span does."""
        self._open().set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Do as the SDK's span does."""
        self._open().record_exception(exception, attributes, timestamp, escaped)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._open(), name)
