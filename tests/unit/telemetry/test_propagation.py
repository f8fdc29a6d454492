"""traceparent as the W3C wrote it: what is read, what starts anew, what goes out."""

import pytest
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from prodkit.telemetry.propagation import (
    current_traceparent,
    format_traceparent,
    inject,
    parse,
    parse_tracestate,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize("flags", [0, 1, 2, 3, 0xFF])
def test_a_valid_header_is_read(flags):
    assert parse(f"00-{TRACE}-{SPAN}-{flags:02x}") == (int(TRACE, 16), int(SPAN, 16), flags)


@pytest.mark.parametrize("rest", ["", "-", "-what-comes-later"])
def test_a_later_version_is_read_as_far_as_it_is_known(rest):
    assert parse(f"cc-{TRACE}-{SPAN}-01{rest}") == (int(TRACE, 16), int(SPAN, 16), 1)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01.",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00_{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE[:-2]}_1-{SPAN}-01",
        f"00- {TRACE[1:]}-{SPAN}-01",
        f"00-+{TRACE[1:]}-{SPAN}-01",
        f"00--{'0' * 30}1-{SPAN}-01",
        f"00-{TRACE}--{'0' * 14}1-01",
        f"00-{TRACE}-{SPAN}--1",
        f"-1-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-１1",
        f" 00-{TRACE}-{SPAN}-01",
    ],
)
def test_what_the_standard_forbids_starts_anew(header):
    assert parse(header) is None


def test_tracestate_is_carried_within_its_bounds():
    state = parse_tracestate("vendor=a,other=b")
    assert state is not None
    assert state.to_header() == "vendor=a,other=b"
    assert parse_tracestate(None) is None
    assert parse_tracestate("v=" + "x" * 600) is None


def _attach(flags, state=None):
    span = SpanContext(int(TRACE, 16), int(SPAN, 16), False, TraceFlags(flags), state)
    return otel.attach(trace.set_span_in_context(NonRecordingSpan(span)))


def test_the_current_span_goes_out():
    token = _attach(3, TraceState([("vendor", "a")]))
    try:
        headers = {"x-own": "1"}
        inject(headers)
        assert headers == {
            "x-own": "1",
            "traceparent": f"00-{TRACE}-{SPAN}-03",
            "tracestate": "vendor=a",
        }
        assert current_traceparent() == f"00-{TRACE}-{SPAN}-03"
    finally:
        otel.detach(token)


def test_nothing_goes_out_where_there_is_no_span():
    headers: dict[str, str] = {}
    inject(headers)
    assert headers == {}
    assert current_traceparent() is None


def test_unknown_flags_do_not_travel_on():
    context = SpanContext(int(TRACE, 16), int(SPAN, 16), True, TraceFlags(0xFF))
    assert format_traceparent(context) == f"00-{TRACE}-{SPAN}-03"
