"""Count and duration of calls, kept together, and bounded whatever strangers call."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from threading import Lock

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from prodkit.errors import Code
from prodkit.telemetry import semconv

#: Distinct operations (and names of policies) a metric takes; the rest is counted as `_OTHER`.
LIMIT = 1000

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BUCKETS = (*(str(bound) for bound in _BOUNDS), "+Inf")


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
