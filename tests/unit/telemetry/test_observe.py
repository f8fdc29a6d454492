"""One span, one count, one line a call, at every door; and what each of them says."""

import asyncio
import io
import json
import sys
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry

from prodkit import SYSTEM_CLOCK, Call, Code, Event, Kind, Pipeline, Principal, Trait
from prodkit.errors import NotFoundError, RateLimitedError, UnavailableError
from prodkit.policies.bulkhead import Bulkhead
from prodkit.policies.circuit_breaker import CircuitBreaker, CircuitOpened
from prodkit.policies.fallback import Fallback
from prodkit.telemetry import LineSink, Observe, Telemetry, inject
from prodkit.testing.clock import ManualClock

pytestmark = pytest.mark.anyio


class Bench:
    """A telemetry whose spans, metrics and lines can be read."""

    def __init__(self, sample_ratio=1.0, clock=None, **options):
        self.exporter = InMemorySpanExporter()
        self.stream = io.BytesIO()
        self.clock = clock or ManualClock()
        self.telemetry = Telemetry(
            "orders",
            registry=CollectorRegistry(),
            span_processors=[SimpleSpanProcessor(self.exporter)],
            sample_ratio=sample_ratio,
            log=LineSink(self.stream),
            clock=self.clock,
            **options,
        )
        self.observe = Observe(self.telemetry)

    @property
    def spans(self):
        return self.exporter.get_finished_spans()

    @property
    def lines(self):
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def value(self, metric, /, **labels):
        return self.telemetry.registry.get_sample_value(metric, labels)

    async def run(self, call, leaf):
        return await Pipeline(self.observe).bind(leaf)(call)


@pytest.fixture
def bench():
    return Bench()


def http(operation="GET /orders/42", **options):
    options.setdefault("request_id", "r-1")
    return Call(operation, Kind.SERVER, transport="http", **options)


def answer(operation, status, code=Code.OK):
    async def leaf(call):
        call.operation, call.status, call.code = operation, status, code
        return "answer"

    return leaf


def fail(error):
    async def leaf(call):
        raise error

    return leaf


async def test_a_request_is_traced_counted_and_logged_under_its_template(bench):
    async def leaf(call):
        await bench.clock.advance(0.25)
        return await answer("GET /orders/{id}", 200)(call)

    call = http(principal=Principal("user-7"))
    assert await bench.run(call, leaf) == "answer"
    (span,) = bench.spans
    assert span.name == "GET /orders/{id}"
    assert span.kind is SpanKind.SERVER
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes) == {
        "prodkit.request_id": "r-1",
        "http.request.method": "GET",
        "http.route": "/orders/{id}",
        "url.path": "/orders/42",
        "http.response.status_code": 200,
    }
    labels = {"method": "GET", "endpoint": "/orders/{id}", "status": "200"}
    assert bench.value("http_requests_total", **labels) == 1
    assert bench.value("http_request_duration_seconds_sum", **labels) == 0.25
    (line,) = bench.lines
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "event": "call",
        "service": "orders",
        "trace_id": f"{span.context.trace_id:032x}",
        "span_id": f"{span.context.span_id:016x}",
        "request_id": "r-1",
        "kind": "server",
        "transport": "http",
        "operation": "GET /orders/{id}",
        "duration": 0.25,
        "code": "OK",
        "status": 200,
        "path": "/orders/42",
        "principal": "user-7",
    }


async def test_a_trace_that_is_not_kept_is_counted_and_logged_all_the_same():
    bench = Bench(sample_ratio=0.0)
    headers: dict[str, str] = {}

    async def leaf(call):
        inject(headers)
        return await answer("GET /x", 200)(call)

    await bench.run(http(), leaf)
    assert bench.spans == ()
    (line,) = bench.lines
    assert headers["traceparent"] == f"00-{line['trace_id']}-{line['span_id']}-02"
    labels = {"method": "GET", "endpoint": "/x", "status": "200"}
    assert bench.value("http_requests_total", **labels) == 1


@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_what_was_not_routed_makes_no_label_of_the_strangers_path(bench, transport):
    async def not_found(call):
        call.status, call.code = 404, Code.NOT_FOUND

    for number in range(50):
        call = Call(f"GET /evil/{number}", Kind.SERVER, transport=transport)
        await bench.run(call, not_found)
    name = "http_requests_total" if transport == "http" else "websocket_sessions_total"
    assert bench.value(name, method="GET", endpoint="_unmatched", status="404") == 50
    assert bench.lines[7]["operation"] == "GET _unmatched"
    assert bench.lines[7]["path"] == "/evil/7"
    assert {span.attributes.get("http.route") for span in bench.spans} == {None}
    assert len({span.name for span in bench.spans}) == (1 if transport == "http" else 50)


async def test_a_strangers_method_is_no_label_either(bench):
    for number in range(50):
        await bench.run(http(f"M{number} /orders"), answer(f"M{number} /orders", 405))
    other = {"method": "_OTHER", "endpoint": "/orders", "status": "405"}
    assert bench.value("http_requests_total", **other) == 50
    assert bench.spans[3].attributes["http.request.method"] == "_OTHER"
    assert bench.spans[3].attributes["http.request.method_original"] == "M3"


async def test_secrets_in_the_path_are_not_written(bench):
    await bench.run(http("GET /cards/4111111111111111"), answer("GET /cards/{number}", 200))
    assert b"4111111111111111" not in bench.stream.getvalue()
    assert "4111111111111111" not in bench.spans[0].to_json()


async def test_a_long_path_is_cut(bench):
    await bench.run(http("GET /" + "x" * 100_000), answer("GET /{x}", 200))
    assert len(bench.stream.getvalue()) < 1000


async def test_a_refusal_explains_itself(bench):
    call = http()
    refused = RateLimitedError(
        "slow down", call=call, policy="rate_limiter x", measured=11, threshold=10, retry_after=2.5
    )
    with pytest.raises(RateLimitedError):
        await bench.run(call, fail(refused))
    (line,) = bench.lines
    expected = {
        "level": "warning",
        "operation": "GET _unmatched",
        "status": 429,
        "code": "RESOURCE_EXHAUSTED",
        "error": "RateLimitedError",
        "reason": "RATE_LIMITED",
        "message": "slow down",
        "policy": "rate_limiter x",
        "measured": 11,
        "threshold": 10,
        "retry_after": 2.5,
    }
    assert line.items() >= expected.items()
    assert "exception" not in line
    (span,) = bench.spans
    assert span.attributes["prodkit.policy"] == "rate_limiter x"
    assert span.attributes["prodkit.retry_after"] == 2.5
    assert span.status.status_code is StatusCode.UNSET  # the caller's fault, not ours
    assert bench.telemetry.availability.percent() == 100.0


async def test_an_unexpected_error_is_told_with_its_stack_to_the_log_alone(bench):
    with pytest.raises(ValueError, match="hunter2"):
        await bench.run(http(), fail(ValueError("password=hunter2 for ada@example.com")))
    (line,) = bench.lines
    assert line["level"] == "error"
    assert line["status"] == 500
    assert line["code"] == "UNKNOWN"
    assert "test_observe.py" in line["exception"]
    assert "hunter2" not in line["exception"]
    (span,) = bench.spans
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "ValueError"
    assert "ada@example.com" not in span.to_json()
    assert bench.telemetry.availability.percent() == 0.0


@pytest.mark.parametrize(
    ("error", "level", "status", "available"),
    [
        (NotFoundError("no such order"), "info", 404, 100.0),
        (UnavailableError("the store is away"), "warning", 503, 0.0),
        (TimeoutError(), "warning", 504, 0.0),
    ],
)
async def test_levels_and_availability_follow_the_code(bench, error, level, status, available):
    with pytest.raises(type(error)):
        await bench.run(http(), fail(error))
    (line,) = bench.lines
    assert (line["level"], line["status"]) == (level, status)
    assert bench.telemetry.availability.percent() == available


async def test_a_failure_told_by_status_alone_is_a_failure(bench):
    await bench.run(http(), answer("GET /x", 503, Code.UNAVAILABLE))
    (line,) = bench.lines
    assert line["level"] == "warning"
    assert bench.spans[0].status.status_code is StatusCode.ERROR
    assert bench.spans[0].attributes["error.type"] == "503"
    assert bench.value("service_availability", service="orders-service") == 0.0


async def test_cancellation_is_neither_success_nor_failure(bench):
    started = asyncio.Event()

    async def leaf(call):
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(bench.run(http(), leaf))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (line,) = bench.lines
    assert (line["level"], line["code"], line["status"]) == ("info", "CANCELLED", 499)
    assert "exception" not in line
    (span,) = bench.spans
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()
    assert bench.telemetry.availability.percent() == 100.0


async def test_nested_calls_make_one_trace(bench):
    async def reply(call):
        return None

    async def leaf(call):
        headers: dict[str, str] = {}

        async def send(_call):
            inject(headers)
            return await bench.run(
                Call("/pkg.Stock/Take", Kind.SERVER, transport="grpc", metadata=headers), reply
            )

        await bench.run(Call("/pkg.Stock/Take", Kind.CLIENT, transport="grpc"), send)

    await bench.run(http(), leaf)
    served, sent, outer = bench.spans
    assert served.parent.span_id == sent.context.span_id
    assert sent.parent.span_id == outer.context.span_id
    assert len({span.context.trace_id for span in bench.spans}) == 1
    assert sent.name == "pkg.Stock/Take"
    assert dict(sent.attributes) == {
        "rpc.system.name": "grpc",
        "rpc.method": "pkg.Stock/Take",
        "rpc.response.status_code": "OK",
    }
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.mark.parametrize(
    ("operation", "name"),
    [("POST /v1/charges/{id}", "POST /v1/charges/{id}"), ("POST provider.example", "POST")],
)
async def test_a_request_sent_is_named_by_its_template(bench, operation, name):
    await bench.run(Call(operation, Kind.CLIENT, transport="http"), answer(operation, 200))
    assert bench.spans[0].name == name


async def test_messages_are_named_by_what_is_done_with_them(bench):
    async def leaf(call):
        return None

    await bench.run(Call("mail order.paid", Kind.CONSUMER, transport="message"), leaf)
    await bench.run(Call("order.paid", Kind.PRODUCER, transport="message"), leaf)
    assert [span.name for span in bench.spans] == ["process mail order.paid", "send order.paid"]
    assert bench.spans[0].attributes["messaging.destination.name"] == "mail"
    assert bench.value("messaging_consumed_total", method="mail order.paid", code="OK") == 1


async def test_outbound_calls_that_went_well_are_logged_on_demand():
    async def leaf(call):
        return None

    call = Call("/pkg.Stock/Take", Kind.CLIENT, transport="grpc")
    for level, lines in (("info", 0), ("debug", 1)):
        bench = Bench(log_level=level)
        await bench.run(call, leaf)
        assert len(bench.lines) == lines
    bench = Bench()
    with pytest.raises(UnavailableError):
        await bench.run(call, fail(UnavailableError("away")))
    assert len(bench.lines) == 1


async def test_what_policies_tell_is_counted_on_the_span_and_logged_if_a_state_changed(bench):
    async def leaf(call):
        call.emit(Event("custom"))
        call.emit(CircuitOpened("circuit_breaker", "psp", 0.6, 0.5, 5.0))
        return await answer("GET /x", 200)(call)

    heard = []
    call = http()
    call.subscribe(lambda _call, event: heard.append(event))
    await bench.run(call, leaf)
    assert len(heard) == 2  # those who listened before keep hearing
    assert bench.value("policy_events_total", policy="custom", event="Event") == 1
    assert bench.value("circuit_breaker_state", name="psp") == 2
    events = bench.spans[0].events
    assert [event.name for event in events] == ["Event", "CircuitOpened"]
    assert events[1].attributes["prodkit.threshold"] == 0.5
    opened, access = bench.lines
    assert opened["event"] == "CircuitOpened"
    assert opened["level"] == "warning"
    assert opened["name"] == "psp"
    assert opened["measured"] == 0.6
    assert opened["trace_id"] == access["trace_id"]
    assert opened["request_id"] == "r-1"


@dataclass(frozen=True, slots=True)
class Told(Event):
    """An event that nobody but its policy knows."""

    level: ClassVar[str] = "info"

    token: object
    items: object
    service: str
    timestamp: str


async def test_an_event_of_anybodys_is_told_without_its_secrets(bench):
    async def leaf(call):
        call.emit(Told("mine", "hunter2", ["4111 1111 1111 1111", 3], "forged", "forged"))
        call.emit(Told("mine", 7, ("x",), "forged", "forged"))
        return

    await bench.run(Call(f"GET /{'x' * 1000}", Kind.SERVER, transport="http"), leaf)
    span, (line, *_) = bench.spans[0], bench.lines
    assert b"hunter2" not in bench.stream.getvalue()
    assert b"4111" not in bench.stream.getvalue()
    assert "hunter2" not in span.to_json()
    assert "4111" not in span.to_json()
    assert (line["event"], line["level"], line["policy"]) == ("Told", "info", "mine")
    assert line["service"] == "orders"  # what every line says is no event's to say
    assert line["timestamp"].endswith("Z")
    assert line["event_service"] == line["event_timestamp"] == "forged"
    assert line["items"] == "['[redacted]', 3]"
    assert len(line["operation"]) == 256
    assert span.attributes["prodkit.events"] == ("Told",)
    assert bench.value("policy_events_total", policy="mine", event="Told") == 2


async def test_an_event_of_no_known_level_has_no_line(bench):
    class Loud(Event):
        level: ClassVar[str] = "loud"

    async def leaf(call):
        call.emit(Loud("mine"))
        return

    await bench.run(Call("work"), leaf)
    assert bench.lines == []
    assert bench.value("policy_events_total", policy="mine", event="Loud") == 1


async def test_the_notes_of_an_error_are_told_inside_without_their_secrets(bench):
    error = UnavailableError("the service that was called did not answer")
    error.add_note("GET orders.internal:8443: ConnectError")
    error.add_note("Retry: gave up after 3 attempts: token=abc123 password=hunter2")
    with pytest.raises(UnavailableError):
        await bench.run(Call("GET /orders", Kind.CLIENT, transport="http"), fail(error))
    (line,), (span,) = bench.lines, bench.spans
    assert line["message"] == "the service that was called did not answer"
    assert line["notes"].startswith("GET orders.internal:8443: ConnectError; Retry: gave up after")
    assert "hunter2" not in line["notes"]
    assert span.events[0].attributes["prodkit.notes"] == line["notes"]


async def test_that_an_answer_was_a_substitute_is_seen_everywhere(bench):
    fallback = Fallback(lambda call, error: "cached", on=UnavailableError, name="stock")
    handler = Pipeline(bench.observe, fallback).bind(fail(UnavailableError("away", reason="AWAY")))
    assert await handler(Call("/pkg.Stock/Take", Kind.CLIENT, transport="grpc")) == "cached"
    (span,) = bench.spans
    assert span.attributes["prodkit.events"] == ("FallbackUsed",)
    assert span.events[0].attributes["prodkit.reason"] == "AWAY"
    assert span.status.status_code is StatusCode.UNSET
    (line,) = bench.lines  # the call itself went well, and outbound: no line of its own
    assert (
        line.items()
        >= {
            "level": "warning",
            "event": "FallbackUsed",
            "policy": "fallback stock",
            "code": "UNAVAILABLE",
            "reason": "AWAY",
            "operation": "/pkg.Stock/Take",
        }.items()
    )
    labels = {"policy": "fallback stock", "event": "FallbackUsed"}
    assert bench.value("policy_events_total", **labels) == 1
    ok = {"method": "/pkg.Stock/Take", "code": "OK"}
    assert bench.value("rpc_client_requests_total", **ok) == 1


async def test_what_policies_hold_is_shown_by_gauges(bench):
    bulkhead = Bulkhead("db", limit=1, queue=5)
    pipeline = Pipeline(bench.observe, bulkhead)
    bench.telemetry.watch(pipeline, Pipeline(bulkhead))
    release = asyncio.Event()

    async def leaf(call):
        await release.wait()

    handler = pipeline.bind(leaf)
    tasks = [asyncio.create_task(handler(Call("op"))) for _ in range(3)]
    await asyncio.sleep(0)
    held = {"policy": "Bulkhead db"}
    assert bench.value("policy_calls_running", **held) == 1
    assert bench.value("policy_calls_waiting", **held) == 2
    assert bench.value("policy_calls_limit", **held) == 1
    release.set()
    await asyncio.gather(*tasks)
    assert bench.value("policy_calls_running", **held) == 0


async def test_a_function_behind_a_pipeline_is_observed_too(bench):
    @Pipeline(bench.observe)
    async def charge(amount):
        return amount

    assert await charge(3) == 3
    assert bench.spans[0].name.endswith("charge")
    assert bench.spans[0].kind is SpanKind.INTERNAL


@pytest.mark.parametrize(
    "value",
    ["a\r\nb", '"}\n{"level":"critical"', "\x1b[2J", "\u2028\u2029\x85", "\u202e", "\ud800"],
    ids=ascii,  # a lone surrogate cannot name a test
)
async def test_whatever_comes_from_outside_is_one_valid_line(bench, value):
    call = http(f"GET /{value}", request_id=value, principal=Principal(value))
    await bench.run(call, answer(f"GET /{value}", 200))
    text = bench.stream.getvalue().decode()
    (line,) = text.splitlines()
    assert json.loads(line)["request_id"] == value
    assert line.isprintable()


async def test_what_is_shared_between_services_is_declared_once():
    registry = CollectorRegistry()
    for service in ("users", "orders"):
        Telemetry(service, registry=registry, log=LineSink(io.BytesIO()))
    for label in ("users-service", "orders-service"):
        assert registry.get_sample_value("service_availability", {"service": label}) == 100.0
    Telemetry("payments", registry=registry, availability="payment-service")
    assert registry.get_sample_value("service_availability", {"service": "payment-service"}) == 100


async def test_stopping_hands_over_what_was_gathered(bench):
    await bench.telemetry.start()
    await bench.run(http(), answer("GET /x", 200))
    await bench.telemetry.stop(1.0)
    assert len(bench.exporter.get_finished_spans()) == 1


async def test_a_log_level_is_one_of_five():
    with pytest.raises(ValueError, match="log_level"):
        Telemetry("orders", log_level="loud")


def test_the_trait_tells_doors_that_somebody_looks():
    assert Observe.traits is Trait.OBSERVES


async def test_what_observing_costs_is_known_exactly():
    """Python functions entered for a request whose trace is not kept, on any machine."""
    bench = Bench(sample_ratio=0.0, clock=SYSTEM_CLOCK)
    handler = Pipeline(bench.observe).bind(answer("GET /orders/{id}", 200))
    entered = []

    def profile(frame, event, argument):
        if event == "call":
            entered.append(frame.f_code.co_qualname)

    for _ in range(3):  # what is bound at the first request is not paid again
        await handler(http())
    call = http()
    sys.setprofile(profile)
    await handler(call)
    sys.setprofile(None)
    own = [name for name in entered if not name.startswith(("answer", "_link"))]
    assert len(own) == 18, own


async def test_what_stands_beside_it_in_a_pipeline_is_a_gauge_from_the_start():
    bench = Bench()
    bulkhead, breaker = Bulkhead("work", limit=2), CircuitBreaker("stock")
    going, held = asyncio.Event(), asyncio.Event()

    @Pipeline(bench.observe, breaker, bulkhead)
    async def work() -> None:
        going.set()
        await held.wait()

    assert bench.value("policy_calls_limit", policy="Bulkhead work") == 2
    task = asyncio.create_task(work())
    await going.wait()
    assert bench.value("policy_calls_running", policy="Bulkhead work") == 1
    held.set()
    await task
    assert bench.value("policy_calls_running", policy="Bulkhead work") == 0


async def test_what_a_hand_does_to_a_breaker_shows_at_once():
    bench, breaker = Bench(), CircuitBreaker("stock")
    Pipeline(bench.observe, breaker)(asyncio.sleep)
    state = partial(bench.value, "circuit_breaker_state", name="stock")
    assert state() == 0
    breaker.isolate()
    assert state() == 3  # no call has come since
    breaker.reset()
    assert state() == 0
