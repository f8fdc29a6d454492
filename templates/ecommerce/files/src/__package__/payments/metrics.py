"""What payments count."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from .repository import Payment


class PaymentMetrics:
    """Payments by the state that they reached and by method."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(
            "ecommerce_payments",
            "Payments by state reached and method",
            ["status", "method"],
            registry=registry,
        )

    def settled(self, payment: Payment) -> None:
        """Count a payment that reached its state."""
        self._total.labels(status=payment.status, method=payment.method).inc()
