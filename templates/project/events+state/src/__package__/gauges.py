"""What must not pile up unseen: events that wait, and sagas that need somebody."""

from __future__ import annotations

from functools import partial

from prodkit.data.saga import SagaRunner, SagaStatus
from prodkit.messaging.relay import OutboxRelay
from prometheus_client import CollectorRegistry, Gauge


class Gauges:
    """Backlogs by service, read when they are asked for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._pending = Gauge(
            "outbox_pending_events", "Events not published yet", ["service"], registry=registry
        )
        self._age = Gauge(
            "outbox_oldest_event_seconds",
            "Age of the oldest event not published yet",
            ["service"],
            registry=registry,
        )
        self._sagas = Gauge(
            "sagas",
            "Sagas that have not ended well, by state",
            ["service", "status"],
            registry=registry,
        )

    def watch_relay(self, service: str, relay: OutboxRelay) -> None:
        """Show what a relay has before it."""
        self._pending.labels(service).set_function(lambda: relay.backlog.pending)
        self._age.labels(service).set_function(lambda: relay.backlog.age)

    def watch_sagas(self, service: str, runner: SagaRunner) -> None:
        """Show what a runner has before it."""
        for status in (SagaStatus.RUNNING, SagaStatus.COMPENSATING, SagaStatus.NEEDS_ATTENTION):
            gauge = self._sagas.labels(service, status.value)
            gauge.set_function(partial(_count, runner, status))


def _count(runner: SagaRunner, status: SagaStatus) -> float:
    return runner.counts.get(status, 0)
