"""The services of the platform, each put together on its own page."""

from __future__ import annotations

from .catalog import service as catalog
from .notifications import service as notifications
from .orders import service as orders
from .payments import service as payments
from .users import service as users

#: What answers calls, in the order of their start.
SERVICES = {
    "users": users,
    "catalog": catalog,
    "orders": orders,
    "payments": payments,
    "notifications": notifications,
}
