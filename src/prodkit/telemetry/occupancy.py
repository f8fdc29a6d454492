"""What bulkheads and shedders hold right now, read when somebody scrapes."""

from __future__ import annotations

from collections import defaultdict

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

#: Gauge, its help, and the attributes of policies that it reads, the first that there is.
_GAUGES = (
    ("policy_calls_running", "Calls that hold a place", ("running", "in_flight")),
    ("policy_calls_waiting", "Calls that wait for a place", ("waiting",)),
    ("policy_calls_limit", "Calls that may run at once", ("limit",)),
)


class Occupancy(Collector):
    """Gauges of the policies that count who is inside: bulkheads, load shedders, one's own.

    A policy that has `running` or `in_flight` is one, and tells `waiting` and `limit` if it has
    them. Its label is its class and its `name`; policies of one label are added up.
    """

    def __init__(self) -> None:
        self._watched: dict[int, tuple[str, object]] = {}

    def watch(self, policy: object) -> None:
        """Read the gauges of `policy` from now on; twice is once, and others are passed over."""
        if _read(policy, ("running", "in_flight")) is not None:
            label = f"{type(policy).__name__} {getattr(policy, 'name', '')}".rstrip()
            self._watched[id(policy)] = (label, policy)  # held, so its id stays its own

    def describe(self) -> list[Metric]:
        """Return the families without samples, by which the registry notices duplicates."""
        return [GaugeMetricFamily(name, text, labels=["policy"]) for name, text, _ in _GAUGES]

    def collect(self) -> list[Metric]:
        """Return the families as they are now."""
        families: list[Metric] = []
        for name, text, attributes in _GAUGES:
            sums: defaultdict[str, float] = defaultdict(float)
            for label, policy in list(self._watched.values()):
                value = _read(policy, attributes)
                if value is not None:
                    sums[label] += value
            family = GaugeMetricFamily(name, text, labels=["policy"])
            for label, total in sums.items():
                family.add_metric([label], total)
            families.append(family)
        return families


def _read(policy: object, attributes: tuple[str, ...]) -> float | None:
    for attribute in attributes:
        value = getattr(policy, attribute, None)
        if isinstance(value, int | float):
            return value
    return None
