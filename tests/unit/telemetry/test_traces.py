"""Which traces are kept, who decides, and what becomes of what a stranger asks for."""

import pytest
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from prodkit import Call, Kind
from prodkit.telemetry.traces import RatioSampler, SpanStarter, tracer_provider

TRACE = 0x0AF7651916CD43DD8448EB211C80319C
SPAN = 0xB7AD6B7169203331


def starter(ratio):
    exporter = InMemorySpanExporter()
    provider = tracer_provider(
        "orders", sample_ratio=ratio, processors=[SimpleSpanProcessor(exporter)]
    )
    return SpanStarter(provider, ratio), provider, exporter


def inbound(flags=None, *, kind=Kind.SERVER, edge=False, **metadata):
    if flags is not None:
        metadata["traceparent"] = f"00-{TRACE:032x}-{SPAN:016x}-{flags:02x}"
    return Call("GET /", kind, transport="http", metadata=metadata, edge=edge)


def sampled(span):
    return span.get_span_context().trace_flags.sampled


def test_about_the_ratio_of_new_traces_is_kept_and_the_ids_are_all_different():
    spans, _, _ = starter(0.25)
    begun = [spans.inbound(inbound()) for _ in range(2000)]
    assert 350 < sum(map(sampled, begun)) < 650
    assert len({span.get_span_context().trace_id for span in begun}) == 2000
    assert all(span.is_recording() is sampled(span) for span in begun)
    assert all(span.get_span_context().trace_flags.random_trace_id for span in begun)


def test_the_decision_follows_from_the_trace_id_so_that_all_processes_agree():
    spans, _, _ = starter(0.25)
    sampler = RatioSampler(0.25)
    for _ in range(500):
        span = spans.inbound(inbound())
        decision = sampler.should_sample(None, span.get_span_context().trace_id, "x").decision
        assert decision.is_sampled() is sampled(span)


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_a_service_is_believed_whatever_our_own_ratio(ratio):
    spans, _, _ = starter(ratio)
    for flags in (0, 1, 2, 3):
        span = spans.inbound(inbound(flags))
        assert span.get_span_context().trace_id == TRACE
        assert span.get_span_context().span_id != SPAN
        assert span.get_span_context().trace_flags == flags


@pytest.mark.parametrize(("ratio", "flags"), [(0.0, 1), (1.0, 0)])
def test_a_stranger_neither_forces_nor_prevents_sampling(ratio, flags):
    spans, _, _ = starter(ratio)
    span = spans.inbound(inbound(flags, edge=True, tracestate="evil=1"))
    assert sampled(span) is (ratio == 1.0)
    assert span.get_span_context().trace_id == TRACE
    assert not span.get_span_context().trace_state


def test_a_stranger_who_chooses_the_trace_id_does_not_choose_the_decision():
    spans, _, _ = starter(0.5)
    kept = sum(sampled(spans.inbound(inbound(1, edge=True))) for _ in range(1000))
    assert 350 < kept < 650


@pytest.mark.parametrize("flags", [0, 1])
def test_tracestate_of_a_service_is_carried_on(flags):
    spans, _, _ = starter(1.0)
    span = spans.inbound(inbound(flags, tracestate="vendor=a"))
    assert span.get_span_context().trace_state.to_header() == "vendor=a"


def test_a_kept_span_is_the_child_of_the_caller_and_a_message_is_linked_too():
    spans, _, exporter = starter(0.0)
    spans.inbound(inbound(1)).end()
    spans.inbound(inbound(1, kind=Kind.CONSUMER)).end()
    served, consumed = exporter.get_finished_spans()
    assert served.parent.span_id == consumed.parent.span_id == SPAN
    assert served.parent.is_remote
    assert not served.links
    assert [link.context.span_id for link in consumed.links] == [SPAN]
    assert served.resource.attributes["service.name"] == "orders"


def test_outbound_spans_belong_to_the_current_one_or_are_not_made():
    spans, _, _ = starter(1.0)
    parent = spans.inbound(inbound(1))
    token = otel.attach(trace.set_span_in_context(parent))
    try:
        child = spans.outbound(Call("/pkg.Svc/Do", Kind.CLIENT, transport="grpc"))
        assert child.parent.span_id == parent.get_span_context().span_id
    finally:
        otel.detach(token)
    parent = spans.inbound(inbound(0))
    token = otel.attach(trace.set_span_in_context(parent))
    try:
        same = spans.outbound(Call("/pkg.Svc/Do", Kind.CLIENT, transport="grpc"))
        assert not same.is_recording()
        assert same.get_span_context() == parent.get_span_context()
    finally:
        otel.detach(token)


def test_an_outbound_call_outside_of_any_trace_begins_one():
    spans, _, exporter = starter(1.0)
    spans.outbound(Call("tick")).end()
    (span,) = exporter.get_finished_spans()
    assert span.parent is None


def test_what_the_service_traces_by_itself_follows_our_decision():
    spans, provider, _ = starter(0.0)
    for flags in (0, 1):
        token = otel.attach(trace.set_span_in_context(spans.inbound(inbound(flags))))
        try:
            own = provider.get_tracer("shop").start_span("own")
        finally:
            otel.detach(token)
        assert own.is_recording() is bool(flags)
        assert own.get_span_context().trace_id == TRACE


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_ratio_is_a_share(ratio):
    with pytest.raises(ValueError, match="sample_ratio"):
        tracer_provider("orders", sample_ratio=ratio)
