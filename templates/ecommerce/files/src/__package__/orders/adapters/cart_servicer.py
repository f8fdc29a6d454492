"""The cart, as the contract shows it."""

from __future__ import annotations

from ...contract.orders.v1 import orders_pb2 as pb, orders_pb2_grpc as rpc
from ...identity import caller
from ...wire import Context
from ..application.carts import Cart
from ..domain.order import Line
from .mapping import cart_message


class CartServicer(rpc.CartServiceServicer):
    """The caller's cart."""

    def __init__(self, cart: Cart) -> None:
        self._cart = cart

    async def GetCart(self, request: pb.GetCartRequest, context: Context) -> pb.Cart:
        """Return it."""
        return await self._priced()

    async def PutCartItem(self, request: pb.PutCartItemRequest, context: Context) -> pb.Cart:
        """Set a line."""
        await self._cart.put(caller().subject, Line(request.product_id, request.quantity))
        return await self._priced()

    async def ClearCart(self, request: pb.ClearCartRequest, context: Context) -> pb.Cart:
        """Empty it."""
        await self._cart.clear(caller().subject)
        return pb.Cart()

    async def _priced(self) -> pb.Cart:
        return cart_message(await self._cart.priced(caller().subject))
