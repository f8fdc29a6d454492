"""The span that is built only when somebody writes on it: it must read like the SDK's own."""

import json

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, StatusCode

from prodkit import Call, Kind
from prodkit.telemetry.kept_span import KeptSpan
from prodkit.telemetry.traces import SpanStarter, tracer_provider

ATTRIBUTES = {"http.request.method": "GET", "http.response.status_code": 200}


class Listener(SpanProcessor):
    def __init__(self):
        self.begun = []

    def on_start(self, span, parent_context=None):
        span.set_attribute("heard", True)
        self.begun.append((span, parent_context))


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter):
    return tracer_provider("orders", sample_ratio=1.0, processors=[SimpleSpanProcessor(exporter)])


def begin(provider):
    return SpanStarter(provider, 1.0).inbound(Call("GET /raw", Kind.SERVER, transport="http"))


def finished(exporter):
    (span,) = exporter.get_finished_spans()
    return span


def test_untouched_and_written_on_it_exports_the_same(provider, exporter):
    untouched, built = begin(provider), begin(provider)
    built.build()
    for span in (untouched, built):
        span.close("GET /items/{id}", ATTRIBUTES)
    one, other = exporter.get_finished_spans()
    for name in ("name", "kind", "parent", "attributes", "events", "links", "resource"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.instrumentation_scope == other.instrumentation_scope
    assert one.status.status_code is other.status.status_code is StatusCode.UNSET
    assert (one.dropped_attributes, one.dropped_events, one.dropped_links) == (0, 0, 0)
    assert json.loads(one.to_json()).keys() == json.loads(other.to_json()).keys()
    for span, exported in ((untouched, one), (built, other)):
        assert exported.context == span.get_span_context()
        assert exported.start_time == span._start_time <= exported.end_time


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (lambda span: span.set_attribute("a", 1), lambda span: span.attributes["a"] == 1),
        (lambda span: span.set_attributes({"a": 1}), lambda span: span.attributes["a"] == 1),
        (lambda span: span.add_event("e", {"a": 1}), lambda span: span.events[0].name == "e"),
        (lambda span: span.add_link(SpanContext(5, 6, True)), lambda span: len(span.links) == 1),
        (
            lambda span: span.set_status(StatusCode.ERROR, "why"),
            lambda span: span.status.description == "why",
        ),
        (
            lambda span: span.record_exception(ValueError("x")),
            lambda span: span.events[0].attributes["exception.type"] == "ValueError",
        ),
        (lambda span: span.update_name("mine"), lambda span: span.name == "mine"),
    ],
)
def test_what_a_handler_writes_arrives_beside_what_is_known_at_the_end(
    provider, exporter, write, read
):
    span = begin(provider)
    started = span.get_span_context(), span._start_time
    write(span)
    span.close(None, ATTRIBUTES)
    exported = finished(exporter)
    assert read(exported)
    assert exported.attributes.items() >= ATTRIBUTES.items()
    assert (exported.context, exported.start_time) == started


def test_the_limits_of_the_sdk_hold_for_what_is_written(monkeypatch, exporter):
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")
    provider = tracer_provider(
        "orders", sample_ratio=1.0, processors=[SimpleSpanProcessor(exporter)]
    )
    span = begin(provider)
    span.set_attribute("a", "abcdef")
    span.close(None, {})
    assert finished(exporter).attributes["a"] == "abc"


@pytest.mark.parametrize("touched", [False, True])
def test_nothing_is_recorded_after_the_end_and_it_ends_once(provider, exporter, touched):
    span = begin(provider)
    if touched:
        span.set_attribute("before", 1)
    assert span.is_recording()
    span.close(None, {})
    assert not span.is_recording()
    span.set_attribute("after", 1)
    span.update_name("after")
    span.end()
    span.close(None, {"after": 1})
    assert "after" not in finished(exporter).attributes
    assert finished(exporter).name == "GET"


def test_a_handler_may_end_it_early(provider, exporter):
    span = begin(provider)
    span.end()
    assert not span.is_recording()
    span.close("GET /items/{id}", ATTRIBUTES)
    assert finished(exporter).name == "GET"


def test_what_only_the_spans_of_the_sdk_have_can_be_read(provider):
    span = begin(provider)
    span.set_attribute("a", 1)
    assert (span.name, span.parent, dict(span.attributes)) == ("GET", None, {"a": 1})
    with pytest.raises(AttributeError, match="nothing_such"):
        span.nothing_such  # noqa: B018


@pytest.mark.parametrize("early", [True, False])
def test_a_processor_that_looks_at_spans_that_begin_gets_the_sdk_s(provider, exporter, early):
    listener = Listener()
    starter = SpanStarter(provider, 1.0)
    if not early:  # spans begun before it came are not its business
        starter.inbound(Call("GET /", Kind.SERVER, transport="http")).close(None, {})
        exporter.clear()
    provider.add_span_processor(listener)
    parent = f"00-{5:032x}-{6:016x}-01"
    call = Call("GET /", Kind.SERVER, transport="http", metadata={"traceparent": parent})
    span = starter.inbound(call)
    ((begun, context),) = listener.begun
    assert isinstance(begun, SdkSpan)
    assert begun.get_span_context() == span.get_span_context()
    assert trace.get_current_span(context).get_span_context().span_id == 6
    span.close(None, ATTRIBUTES)
    assert finished(exporter).attributes["heard"] is True


def test_spans_are_built_for_nobody_while_no_processor_looks_at_their_begin(exporter):
    provider = tracer_provider("orders", sample_ratio=1.0)
    batch = BatchSpanProcessor(exporter)
    provider.add_span_processor(batch)
    span = begin(provider)
    assert isinstance(span, KeptSpan)
    span.close("GET /items/{id}", ATTRIBUTES)
    assert span._built is None
    batch.force_flush()
    assert finished(exporter).attributes == ATTRIBUTES
    batch.shutdown()
