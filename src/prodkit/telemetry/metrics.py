"""Metrics: what prodkit counts, declared once per registry, children bound once per combination."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge

from prodkit.call import Kind
from prodkit.events import Event
from prodkit.policies.circuit_breaker import (
    CircuitBreaker,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitIsolated,
    CircuitOpened,
    CircuitReset,
    SharedCircuitBreaker,
    State,
)
from prodkit.policies.rate_limiter import RateExceeded
from prodkit.policies.retry import RetryScheduled
from prodkit.telemetry import semconv
from prodkit.telemetry.occupancy import Occupancy
from prodkit.telemetry.series import LIMIT, Series

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

_STATES_HELP = "0 closed, 1 half-open, 2 open, 3 isolated by hand"
_CHANGES_HELP = "Changes of state of circuit breakers"
_LIMITED_HELP = "Calls refused by rate limiters"
_RETRIES_HELP = "Attempts after a failed one, by its code"
_AVAILABILITY_HELP = "Service availability percentage over the last hour"
_DROPPED_HELP = "Log lines given up because nobody read them"

_STATES: dict[type[Event], tuple[int, str]] = {
    CircuitClosed: (0, "closed"),
    CircuitReset: (0, "closed"),
    CircuitHalfOpened: (1, "half_open"),
    CircuitOpened: (2, "open"),
    CircuitIsolated: (3, "isolated"),
}
_NUMBERS = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2, State.ISOLATED: 3}
_Transition: TypeAlias = (
    CircuitClosed | CircuitReset | CircuitHalfOpened | CircuitOpened | CircuitIsolated
)


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
        self._states = Gauge("circuit_breaker_state", _STATES_HELP, ("name",), registry=registry)
        self._transitions = Counter(
            "circuit_breaker_transitions_total", _CHANGES_HELP, ("name", "state"), registry=registry
        )
        self._limited = Counter("rate_limited_total", _LIMITED_HELP, ("policy",), registry=registry)
        self._retries = Counter("retries_total", _RETRIES_HELP, ("code",), registry=registry)
        self.availability = Gauge(
            "service_availability", _AVAILABILITY_HELP, ("service",), registry=registry
        )
        self.lines_dropped = Gauge(
            "log_lines_dropped", _DROPPED_HELP, ("service",), registry=registry
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

    def watch(self, policy: object) -> None:
        """Read from now on, at each scrape, what `policy` holds or the state of its circuit."""
        self.occupancy.watch(policy)
        if isinstance(policy, CircuitBreaker | SharedCircuitBreaker):
            name = self._policy(policy.name)
            if name == policy.name:
                self._states.labels(name).set_function(lambda: _NUMBERS[policy.state])

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
