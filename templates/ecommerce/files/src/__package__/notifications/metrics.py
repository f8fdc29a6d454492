"""What notifications count."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class NotificationMetrics:
    """Notifications that were sent, or given up."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(
            "ecommerce_notifications",
            "Notifications by channel and end",
            ["channel", "status"],
            registry=registry,
        )

    def settled(self, channel: str, status: str) -> None:
        """Count one."""
        self._total.labels(channel=channel, status=status).inc()
