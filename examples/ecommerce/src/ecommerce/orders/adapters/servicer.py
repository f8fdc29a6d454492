"""Orders, as the contract shows them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from prodkit.call import Principal
from prodkit.data.database import Database
from prodkit.errors import NotFoundError
from prodkit.policies.idempotency import current_claim

from ...contract.orders.v1 import orders_pb2 as pb, orders_pb2_grpc as rpc
from ...identity import caller, new_id
from ...wire import Context
from ..application.carts import Cart
from ..application.checkout import Checkout
from ..application.fulfilment import Fulfilment
from ..application.placing import Placing, Wish, owner
from ..application.ports import Orders, Work
from ..domain.order import Order
from ..metrics import OrderMetrics
from .changes import Changes
from .clients import PaymentsClient
from .mapping import address, lines, order_message

DEFAULT_PAGE_SIZE = 20
#: Staff and services see every order.
SEES_ALL = "orders:read_all"


class OrderServicer(rpc.OrderServiceServicer):
    """Placing, paying, following and ending orders."""

    def __init__(
        self,
        *,
        database: Database,
        orders: Orders,
        placing: Placing,
        checkout: Checkout,
        fulfilment: Fulfilment,
        cart: Cart,
        payments: PaymentsClient,
        changes: Changes,
        metrics: OrderMetrics,
    ) -> None:
        self._database = database
        self._orders = orders
        self._placing = placing
        self._checkout = checkout
        self._fulfilment = fulfilment
        self._cart = cart
        self._payments = payments
        self._changes = changes
        self._metrics = metrics

    async def CreateOrder(self, request: pb.CreateOrderRequest, context: Context) -> pb.Order:
        """Place an order; under a key, at most once."""
        principal = caller()
        wish = Wish(
            order_id=_order_id(),
            user_id=owner(
                request.user_id,
                principal.subject,
                may_order_for_others=SEES_ALL in principal.permissions,
            ),
            lines=lines(request.items),
            address=address(request.shipping_address),
            shipping_method=request.shipping_method or "standard",
            discount_code=request.discount_code,
        )
        order = await self._placing.place(wish, _complete)
        self._metrics.placed(order)
        return order_message(order)

    async def Checkout(self, request: pb.CheckoutRequest, context: Context) -> pb.CheckoutResponse:
        """Place an order and pay for it; a repetition under its key takes up the same one."""
        user = caller().subject
        wish = Wish(
            order_id=_order_id(),
            user_id=user,
            lines=lines(request.items) or await self._cart.lines(user),
            address=address(request.shipping_address),
            shipping_method=request.shipping_method or "standard",
            discount_code=request.discount_code,
        )
        # Without a key the id is new: nobody has begun this one before.
        if current_claim() is None or await self._placing.find(wish) is None:
            handle = await self._payments.prepare(
                user, request.payment_method, request.payment_details
            )
            order = await self._checkout.begin(wish, handle)
            self._metrics.placed(order)
        payment, message = await self._checkout.finish(wish.order_id)
        order = await self._fulfilment.get(wish.order_id)
        if not request.items:
            await self._cart.take_out(user, order.items)
        return pb.CheckoutResponse(
            order=order_message(order), payment_status=payment, message=message
        )

    async def GetOrder(self, request: pb.GetOrderRequest, context: Context) -> pb.Order:
        """Return one order."""
        return order_message(await self._visible(request.id))

    async def ListOrders(
        self, request: pb.ListOrdersRequest, context: Context
    ) -> pb.ListOrdersResponse:
        """Return a page of orders."""
        principal = caller()
        user = owner(
            request.user_id,
            principal.subject,
            may_order_for_others=SEES_ALL in principal.permissions,
        )
        async with self._database.read() as tx:
            found, cursor = await self._orders.page(
                tx, user, size=request.page_size or DEFAULT_PAGE_SIZE, cursor=request.page_token
            )
        return pb.ListOrdersResponse(
            orders=[order_message(order) for order in found], next_page_token=cursor
        )

    async def WatchOrder(
        self, request: pb.WatchOrderRequest, context: Context
    ) -> AsyncIterator[pb.Order]:
        """Stream one order's changes."""
        await self._visible(request.id)
        async for order in self._changes.watch(request.id, self._fulfilment.get):
            yield order_message(order)

    async def CancelOrder(self, request: pb.CancelOrderRequest, context: Context) -> pb.Order:
        """Cancel."""
        await self._visible(request.id)
        return order_message(
            await self._fulfilment.cancel(request.id, request.reason or "cancelled on request")
        )

    async def ShipOrder(self, request: pb.ShipOrderRequest, context: Context) -> pb.Order:
        """Ship."""
        return order_message(await self._fulfilment.ship(request.id))

    async def DeliverOrder(self, request: pb.DeliverOrderRequest, context: Context) -> pb.Order:
        """Record the delivery."""
        return order_message(await self._fulfilment.deliver(request.id))

    async def HoldOrder(self, request: pb.HoldOrderRequest, context: Context) -> pb.Order:
        """Hold, for payments."""
        return order_message(await self._fulfilment.hold(request.id, request.payment_id))

    async def ConfirmOrder(self, request: pb.ConfirmOrderRequest, context: Context) -> pb.Order:
        """Confirm, for payments."""
        return order_message(await self._fulfilment.confirm(request.id, request.payment_id))

    async def _visible(self, order_id: str) -> Order:
        """Return an order that the caller may see; somebody else's is not there."""
        order = await self._fulfilment.get(order_id)
        if not _may_see(caller(), order):
            raise NotFoundError(f"there is no order {order_id}", reason="ORDER_NOT_FOUND")
        return order


def _may_see(principal: Principal, order: Order) -> bool:
    return (
        order.user_id == principal.subject
        or SEES_ALL in principal.permissions
        or principal.service is not None
    )


def _order_id() -> str:
    """Return a new id; under an idempotency key the same one again, after a crash too."""
    claim = current_claim()
    return new_id("order") if claim is None else f"order-{claim.id[:20]}"


async def _complete(work: Work, order: Order) -> None:
    claim = current_claim()
    if claim is not None:
        await claim.complete(work.connection, order_message(order))
