"""What orders count, under the names that dashboards know."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from .domain.order import Order, Status

#: What a state is called in the counter.
_COUNTED = {
    Status.CONFIRMED: "completed",
    Status.CANCELLED: "cancelled",
    Status.REFUNDED: "refunded",
}


class OrderMetrics:
    """Orders by state reached and by currency, and the value of the completed ones."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._orders = Counter(
            "ecommerce_orders", "Total number of orders", ["status", "currency"], registry=registry
        )
        self._value = Histogram(
            "ecommerce_order_value_dollars",
            "Order value in dollars",
            ["currency"],
            buckets=(50, 100, 500, 1000),
            registry=registry,
        )
        for status in ("pending", *_COUNTED.values()):
            self._orders.labels(status=status, currency="USD")
        self._value.labels(currency="USD")

    def placed(self, order: Order) -> None:
        """Count an order that was placed."""
        currency = order.totals.total.currency
        self._orders.labels(status="pending", currency=currency).inc()

    def changed(self, order: Order) -> None:
        """Count an order that reached another state."""
        status = _COUNTED.get(order.status)
        if status is None:
            return
        total = order.totals.total
        self._orders.labels(status=status, currency=total.currency).inc()
        if order.status is Status.CONFIRMED:
            # A histogram holds floats; nothing is ever charged from it.
            self._value.labels(currency=total.currency).observe(float(total.amount))
