"""Metrics: what prodkit counts, declared once per registry, children bound once per combination."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from threading import Lock
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from prodkit.call import Kind
from prodkit.errors import Code
from prodkit.events import Event
from prodkit.policies.circuit_breaker import (
    CircuitClosed,
    CircuitHalfOpened,
    CircuitIsolated,
    CircuitOpened,
    CircuitReset,
)
from prodkit.policies.rate_limiter import RateExceeded
from prodkit.policies.retry import RetryScheduled
from prodkit.telemetry import semconv
from prodkit.telemetry.occupancy import Occupancy

#: Distinct operations (and names of policies) a metric takes; the rest is counted as `_OTHER`.
LIMIT = 1000

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BUCKETS = (*(str(bound) for bound in _BOUNDS), "+Inf")

# transport and side: prefix of the counter, prefix of the histogram, what is counted
_FAMILIES: dict[tuple[str, Kind], tuple[str, str, str]] = {
    ("http", Kind.SERVER): ("http_requests", "http_request", "HTTP requests"),
    ("http", Kind.CLIENT): ("http_client_requests", "http_client_request", "HTTP requests sent"),
    ("websocket", Kind.SERVER): ("websocket_sessions", "websocket_session", "websocket sessions"),
    ("grpc", Kind.SERVER): ("rpc_server_requests", "rpc_server_request", "RPCs"),
    ("grpc", Kind.CLIENT): ("rpc_client_requests", "rpc_client_request", "RPCs sent"),
    ("message", Kind.CONSUMER): ("messaging_consumed", "messaging_process", "messages handled"),
    ("message", Kind.PRODUCER): ("messaging_published", "messaging_publish", "messages published"),
    ("function", Kind.INTERNAL): ("function_calls", "function_call", "guarded function calls"),
}

_STATES: dict[type[Event], tuple[int, str]] = {
    CircuitClosed: (0, "closed"),
    CircuitReset: (0, "closed"),
    CircuitHalfOpened: (1, "half_open"),
    CircuitOpened: (2, "open"),
    CircuitIsolated: (3, "isolated"),
}
_Transition: TypeAlias = (
    CircuitClosed | CircuitReset | CircuitHalfOpened | CircuitOpened | CircuitIsolated
)


class _Child:
    """What was counted under one combination of labels."""

    __slots__ = ("counts", "labels", "seconds")

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self.counts = [0] * len(_BUCKETS)
        self.seconds = 0.0


class Series(Collector):
    """Count and duration of one kind of call, by operation and outcome.

    HTTP operations are "METHOD template" and their outcome a status; other outcomes are codes. The
    count and the histogram are kept in one place, which costs a third of a Counter and a Histogram.
    """

    def __init__(self, names: tuple[str, str, str], *, http: bool) -> None:
        self._names = names
        self._labels = ("method", "endpoint", "status") if http else ("method", "code")
        self._http = http
        self._lock = Lock()
        self._known: dict[tuple[str, int, Code], _Child] = {}
        self._children: dict[tuple[str, ...], _Child] = {}
        self._operations: set[str] = set()

    def record(self, operation: str, status: int, code: Code, seconds: float) -> None:
        """Count one call; its labels are looked up, not made, from the second one on."""
        child = self._known.get((operation, status, code))
        if child is None:
            child = self._bind(operation, status, code)
        with self._lock:
            child.counts[bisect_left(_BOUNDS, seconds)] += 1
            child.seconds += seconds

    def describe(self) -> list[Metric]:
        """Return the families without samples, by which the registry notices duplicates."""
        return list(self._families())

    def collect(self) -> list[Metric]:
        """Return the families as they are now."""
        total, duration = self._families()
        with self._lock:
            children = [(c.labels, list(c.counts), c.seconds) for c in self._children.values()]
        for labels, counts, seconds in children:
            cumulated = list(accumulate(counts))
            total.add_metric(labels, cumulated[-1])
            duration.add_metric(labels, list(zip(_BUCKETS, cumulated, strict=True)), seconds)
        return [total, duration]

    def _families(self) -> tuple[CounterMetricFamily, HistogramMetricFamily]:
        count, call, what = self._names
        name, text = f"{call}_duration_seconds", f"Duration of {what} in seconds"
        return (
            CounterMetricFamily(count, f"Number of {what}", labels=self._labels),
            HistogramMetricFamily(name, text, labels=self._labels),
        )

    def _bind(self, operation: str, status: int, code: Code) -> _Child:
        bounded = self._bounded(operation)
        labels: tuple[str, ...] = (bounded, code.name)
        if self._http:
            method, _, endpoint = bounded.partition(" ")
            # where no response came there is no status either; the code says why
            labels = (method, endpoint, str(status or code.name))
        with self._lock:
            child = self._children.setdefault(labels, _Child(labels))
        if bounded == operation:  # never a stranger's own word
            self._known[operation, status, code] = child
        return child

    def _bounded(self, operation: str) -> str:
        if self._http:
            method, _, endpoint = operation.partition(" ")
            if method not in semconv.HTTP_METHODS:
                operation = f"{semconv.OTHER} {endpoint}"
        if operation not in self._operations:
            if len(self._operations) >= LIMIT:
                return f"{semconv.OTHER} {semconv.OTHER}" if self._http else semconv.OTHER
            self._operations.add(operation)
        return operation


class Metrics:
    """Everything that prodkit counts on one registry; get it by `Metrics.of(registry)`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._series = {
            key: Series(names, http=key[0] in {"http", "websocket"})
            for key, names in _FAMILIES.items()
        }
        for series in self._series.values():
            registry.register(series)
        self._events = Counter(
            "policy_events_total", "What policies did", ("policy", "event"), registry=registry
        )
        self._states = Gauge(
            "circuit_breaker_state",
            "0 closed, 1 half-open, 2 open, 3 isolated by hand",
            ("name",),
            registry=registry,
        )
        self._transitions = Counter(
            "circuit_breaker_transitions_total",
            "Changes of state of circuit breakers",
            ("name", "state"),
            registry=registry,
        )
        self._limited = Counter(
            "rate_limited_total", "Calls refused by rate limiters", ("policy",), registry=registry
        )
        self._retries = Counter(
            "retries_total",
            "Attempts after a failed one, by its code",
            ("code",),
            registry=registry,
        )
        self.availability = Gauge(
            "service_availability",
            "Service availability percentage over the last hour",
            ("service",),
            registry=registry,
        )
        self.lines_dropped = Gauge(
            "log_lines_dropped",
            "Log lines given up because nobody read them",
            ("service",),
            registry=registry,
        )
        self.occupancy = Occupancy()
        registry.register(self.occupancy)
        self._policies: set[str] = set()
        self._counted: dict[tuple[str, type[Event]], Counter] = {}
        self._further: dict[type[Event], Callable[[Any], None]] = {
            RateExceeded: self._limited_call,
            RetryScheduled: self._retry,
            **dict.fromkeys(_STATES, self._transition),
        }

    @classmethod
    def of(cls, registry: CollectorRegistry) -> Metrics:
        """Return what is declared on `registry`, declaring it the first time.

        The services of one process share its registry, and a name may be declared there only once.
        """
        metrics = _DECLARED.get(registry)
        if metrics is None:
            metrics = _DECLARED[registry] = cls(registry)
        return metrics

    def series(self, transport: str, kind: Kind) -> Series:
        """Return the metrics of one door's calls; a door without its own counts as functions."""
        return self._series.get((transport, kind)) or self._series["function", Kind.INTERNAL]

    def count(self, event: Event) -> None:
        """Count what a policy told of: every kind of event in one family, some in their own too."""
        kind = type(event)
        counter = self._counted.get((event.policy, kind))
        if counter is None:
            counter = self._bind(event.policy, kind)
        counter.inc()
        further = self._further.get(kind)
        if further is not None:
            further(event)

    def _bind(self, policy: str, kind: type[Event]) -> Counter:
        bounded = self._policy(policy)
        counter = self._events.labels(bounded, kind.__name__)
        if bounded == policy:
            self._counted[policy, kind] = counter
        return counter

    def _limited_call(self, event: RateExceeded) -> None:
        self._limited.labels(self._policy(event.policy)).inc()

    def _retry(self, event: RetryScheduled) -> None:
        self._retries.labels(event.code.name).inc()

    def _transition(self, event: _Transition) -> None:
        number, state = _STATES[type(event)]
        name = self._policy(event.name)
        self._states.labels(name).set(number)
        self._transitions.labels(name, state).inc()

    def _policy(self, name: str) -> str:
        if name not in self._policies:
            if len(self._policies) >= LIMIT:
                return semconv.OTHER
            self._policies.add(name)
        return name


_DECLARED: WeakKeyDictionary[CollectorRegistry, Metrics] = WeakKeyDictionary()
