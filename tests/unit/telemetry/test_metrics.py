"""Names and labels as dashboards know them, and no more of them than the service has operations."""

import secrets

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from prodkit import Code, Event, Kind
from prodkit.policies.circuit_breaker import (
    CircuitClosed,
    CircuitHalfOpened,
    CircuitIsolated,
    CircuitOpened,
    CircuitReset,
)
from prodkit.policies.rate_limiter import RateExceeded
from prodkit.policies.retry import RetryScheduled
from prodkit.telemetry.metrics import Metrics
from prodkit.telemetry.series import LIMIT


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def metrics(registry):
    return Metrics.of(registry)


def test_http_requests_are_counted_under_the_names_that_everybody_knows(registry, metrics):
    http = metrics.series("http", Kind.SERVER)
    for seconds in (0.004, 0.005, 0.3, 99.0):
        http.record("POST /api/v1/orders", 201, Code.OK, seconds)
    labels = {"method": "POST", "endpoint": "/api/v1/orders", "status": "201"}
    assert registry.get_sample_value("http_requests_total", labels) == 4
    assert registry.get_sample_value("http_request_duration_seconds_count", labels) == 4
    assert registry.get_sample_value("http_request_duration_seconds_sum", labels) == 99.309
    buckets = {
        le: registry.get_sample_value("http_request_duration_seconds_bucket", {**labels, "le": le})
        for le in ("0.005", "0.25", "0.5", "10.0", "+Inf")
    }
    assert buckets == {"0.005": 2, "0.25": 2, "0.5": 3, "10.0": 3, "+Inf": 4}


@pytest.mark.parametrize(
    ("transport", "kind", "total"),
    [
        ("grpc", Kind.SERVER, "rpc_server_requests_total"),
        ("grpc", Kind.CLIENT, "rpc_client_requests_total"),
        ("message", Kind.CONSUMER, "messaging_consumed_total"),
        ("message", Kind.PRODUCER, "messaging_published_total"),
        ("function", Kind.INTERNAL, "function_calls_total"),
        ("carrier-pigeon", Kind.CLIENT, "function_calls_total"),
    ],
)
def test_every_door_has_its_count(registry, metrics, transport, kind, total):
    metrics.series(transport, kind).record("op", 0, Code.UNAVAILABLE, 0.1)
    assert registry.get_sample_value(total, {"method": "op", "code": "UNAVAILABLE"}) == 1


def test_an_http_call_without_a_response_is_counted_under_its_code(registry, metrics):
    metrics.series("http", Kind.CLIENT).record("GET /x", 0, Code.UNAVAILABLE, 0.1)
    labels = {"method": "GET", "endpoint": "/x", "status": "UNAVAILABLE"}
    assert registry.get_sample_value("http_client_requests_total", labels) == 1


def test_ten_thousand_strangers_methods_make_one_series(registry, metrics):
    http = metrics.series("http", Kind.SERVER)
    for _ in range(10_000):
        http.record(f"{secrets.token_hex(4).upper()} _unmatched", 404, Code.NOT_FOUND, 0.001)
    http.record("GET _unmatched", 404, Code.NOT_FOUND, 0.001)
    (family,) = (f for f in registry.collect() if f.name == "http_requests")
    assert {tuple(s.labels.values()) for s in family.samples} == {
        ("_OTHER", "_unmatched", "404"),
        ("GET", "_unmatched", "404"),
    }
    assert sum(s.value for s in family.samples) == 10_001


def test_a_door_that_leaks_names_meets_a_limit(registry, metrics):
    rpc = metrics.series("grpc", Kind.SERVER)
    for number in range(LIMIT + 500):
        rpc.record(f"/pkg.Svc/{number}", 0, Code.OK, 0.001)
    (family,) = (f for f in registry.collect() if f.name == "rpc_server_requests")
    assert len(family.samples) == LIMIT + 1
    other = {"method": "_OTHER", "code": "OK"}
    assert registry.get_sample_value("rpc_server_requests_total", other) == 500


def test_the_services_of_one_process_share_what_its_registry_declares(registry, metrics):
    assert Metrics.of(registry) is metrics
    assert Metrics.of(CollectorRegistry()) is not metrics


def test_policies_are_counted_by_what_they_tell(registry, metrics):
    metrics.count(RateExceeded("rate_limiter login", 1.0))
    metrics.count(RetryScheduled("retry", 1, Code.UNAVAILABLE, 0.1))
    metrics.count(Event("custom"))
    value = registry.get_sample_value
    assert value("rate_limited_total", {"policy": "rate_limiter login"}) == 1
    assert value("retries_total", {"code": "UNAVAILABLE"}) == 1
    assert value("policy_events_total", {"policy": "custom", "event": "Event"}) == 1
    assert value("policy_events_total", {"policy": "retry", "event": "RetryScheduled"}) == 1


def test_the_state_of_a_breaker_is_a_gauge_and_its_changes_are_counted(registry, metrics):
    state = []
    for event in (
        CircuitOpened("circuit_breaker", "psp", 0.6, 0.5, 5.0),
        CircuitHalfOpened("circuit_breaker", "psp", 1),
        CircuitOpened("circuit_breaker", "psp", 1.0, 0.5, 5.0),
        CircuitClosed("circuit_breaker", "psp"),
        CircuitIsolated("circuit_breaker", "psp"),
        CircuitReset("circuit_breaker", "psp"),
    ):
        metrics.count(event)
        state.append(registry.get_sample_value("circuit_breaker_state", {"name": "psp"}))
    assert state == [2, 1, 2, 0, 3, 0]
    opened = {"name": "psp", "state": "open"}
    assert registry.get_sample_value("circuit_breaker_transitions_total", opened) == 2


def test_policy_names_meet_a_limit_too(registry, metrics):
    for number in range(LIMIT + 5):
        metrics.count(Event(f"policy {number}"))
    other = {"policy": "_OTHER", "event": "Event"}
    assert registry.get_sample_value("policy_events_total", other) == 5


def test_the_page_is_one_that_prometheus_reads(registry, metrics):
    metrics.series("http", Kind.SERVER).record('GET /"{x}\n', 200, Code.OK, 0.1)
    page = generate_latest(registry).decode()
    families = list(text_string_to_metric_families(page))
    assert len({family.name for family in families}) == len(families)
    assert "http_request_duration_seconds" in {family.name for family in families}
