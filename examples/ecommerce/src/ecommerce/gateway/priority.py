"""Whom the gateway turns away last when there is more to do than it can."""

from __future__ import annotations

from typing import Final

from prodkit.call import Call
from prodkit.policies.load_shedder import Priority, default_priority

#: A customer who pays is served before one who looks around, and so is who tells of a payment.
_SALES: Final = tuple(
    f"POST /api/v1/{path}" for path in ("checkout", "orders", "payments", "webhooks/")
)


def sales_first(call: Call) -> Priority:
    """Return CRITICAL for what sells, else what prodkit says by default."""
    return Priority.CRITICAL if call.operation.startswith(_SALES) else default_priority(call)
