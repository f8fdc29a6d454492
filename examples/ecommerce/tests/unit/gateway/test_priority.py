"""Who is served when not all can be."""

from __future__ import annotations

import pytest
from prodkit.call import Call, Kind
from prodkit.policies.load_shedder import Priority

from ecommerce.gateway.priority import sales_first


@pytest.mark.parametrize(
    ("operation", "priority"),
    [
        ("POST /api/v1/checkout", Priority.CRITICAL),
        ("POST /api/v1/payments", Priority.CRITICAL),
        ("POST /api/v1/webhooks/payments", Priority.CRITICAL),
        ("GET /api/v1/orders", Priority.DEFAULT),
        ("POST /api/v1/users", Priority.DEFAULT),
        ("GET /api/v1/products", Priority.DEFAULT),
        ("GET /health/ready", Priority.EXEMPT),
    ],
)
def test_who_buys_goes_before_who_looks_around(operation: str, priority: Priority) -> None:
    assert sales_first(Call(operation, kind=Kind.SERVER)) is priority
