"""Whom the gateway turns away when there is more to do than the shop can: two crowds, two limits.

A checkout goes through every service and takes a hundred times what a look at a product takes. One
limit learned from both would be learned from neither, and checkouts that wait would hold all of it.
So each crowd has a LoadShedder of its own, for which the other is EXEMPT.
"""

from __future__ import annotations

from typing import Final

from prodkit.call import Call
from prodkit.policies.load_shedder import Priority, default_priority

_SALES: Final = tuple(f"POST /api/v1/{path}" for path in ("checkout", "orders", "payments"))
#: Who tells of a payment ends what was let in before: to refuse that keeps its checkout waiting.
_NEWS: Final = "POST /api/v1/webhooks/"


def among_sales(call: Call) -> Priority:
    """Return CRITICAL for what sells: it may use all of a limit that is its own."""
    return Priority.CRITICAL if call.operation.startswith(_SALES) else Priority.EXEMPT


def among_others(call: Call) -> Priority:
    """Return what prodkit says by default; EXEMPT for what sells and for news of payments."""
    if call.operation.startswith((*_SALES, _NEWS)):
        return Priority.EXEMPT
    return default_priority(call)
