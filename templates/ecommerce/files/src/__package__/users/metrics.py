"""What users count."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class UserMetrics:
    """Accounts that were opened (`active`) and closed (`inactive`) since the start."""

    def __init__(self, registry: CollectorRegistry) -> None:
        users = Counter(
            "ecommerce_users", "Total number of registered users", ["status"], registry=registry
        )
        self.registered = users.labels(status="active").inc
        self.deactivated = users.labels(status="inactive").inc
