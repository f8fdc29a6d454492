"""Orders, as payments see them."""

from __future__ import annotations

from ..contract.orders.v1 import orders_pb2
from ..contract.orders.v1.orders_pb2_grpc import OrderServiceStub
from .paying import Bill


class OrdersClient:
    """The orders service."""

    def __init__(self, orders: OrderServiceStub) -> None:
        self._orders = orders

    async def bill(self, order_id: str) -> Bill:
        """Return what is to be paid for an order."""
        order = await self._orders.GetOrder(orders_pb2.GetOrderRequest(id=order_id))
        return Bill(order.id, order.user_id, order.status, order.total_amount, order.currency)

    async def hold(self, order_id: str, payment_id: str) -> None:
        """Keep the order from expiring while it is paid; FailedPreconditionError: too late."""
        await self._orders.HoldOrder(
            orders_pb2.HoldOrderRequest(id=order_id, payment_id=payment_id)
        )

    async def confirm(self, order_id: str, payment_id: str) -> None:
        """Confirm a paid order; FailedPreconditionError where it can no longer be had."""
        await self._orders.ConfirmOrder(
            orders_pb2.ConfirmOrderRequest(id=order_id, payment_id=payment_id)
        )
