"""Which service answers for which part of the contract."""

from __future__ import annotations

from ..contract.catalog.v1 import catalog_pb2
from ..contract.notifications.v1 import notifications_pb2
from ..contract.orders.v1 import orders_pb2
from ..contract.payments.v1 import payments_pb2
from ..contract.users.v1 import users_pb2

CONTRACTS = {
    "users": users_pb2,
    "catalog": catalog_pb2,
    "orders": orders_pb2,
    "payments": payments_pb2,
    "notifications": notifications_pb2,
}
