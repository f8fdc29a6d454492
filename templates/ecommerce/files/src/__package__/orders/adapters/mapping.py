"""Between the contract's messages and the domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add

from ...contract.common.v1 import common_pb2
from ...contract.orders.v1 import orders_pb2
from ..domain.order import Address, Item, Line, Order


def lines(messages: Iterable[orders_pb2.OrderLine]) -> list[Line]:
    """Return the domain's lines."""
    return [Line(message.product_id, message.quantity) for message in messages]


def address(message: common_pb2.Address) -> Address:
    """Return the domain's address."""
    return Address(message.street, message.city, message.state, message.zip, message.country)


def order_message(order: Order) -> orders_pb2.Order:
    """Return the order as the contract shows it."""
    totals, to = order.totals, order.address
    message = orders_pb2.Order(
        id=order.id,
        user_id=order.user_id,
        status=order.status.value,
        payment_status=order.payment_status.value,
        items=[item_message(item) for item in order.items],
        subtotal=str(totals.subtotal),
        discount=str(totals.discount),
        shipping=str(totals.shipping),
        tax=str(totals.tax),
        total_amount=str(totals.total),
        currency=totals.total.currency,
        shipping_address=common_pb2.Address(
            street=to.street, city=to.city, state=to.state, zip=to.zip, country=to.country
        ),
        shipping_method=order.shipping_method,
        payment_id=order.payment_id,
        reason=order.reason,
        version=order.version,
    )
    message.created_at.FromDatetime(order.created_at)
    message.updated_at.FromDatetime(order.updated_at)
    return message


def item_message(item: Item) -> orders_pb2.OrderItem:
    """Return a line as the contract shows it."""
    return orders_pb2.OrderItem(
        product_id=item.product_id,
        name=item.name,
        quantity=item.quantity,
        unit_price=str(item.unit_price),
        total=str(item.total),
    )


def cart_message(items: Sequence[Item]) -> orders_pb2.Cart:
    """Return the cart; its subtotal is empty where it mixes currencies or is empty."""
    cart = orders_pb2.Cart(items=[item_message(item) for item in items])
    currencies = {item.unit_price.currency for item in items}
    if len(currencies) == 1:
        cart.subtotal = str(reduce(add, (item.total for item in items)))
        cart.currency = currencies.pop()
    return cart
