"""The other services, as the uses of orders see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from prodkit.errors import FailedPreconditionError, NotFoundError

from ...contract.catalog.v1 import catalog_pb2
from ...contract.catalog.v1.catalog_pb2_grpc import CatalogServiceStub, StockServiceStub
from ...contract.payments.v1 import payments_pb2
from ...contract.payments.v1.payments_pb2_grpc import PaymentServiceStub
from ...contract.users.v1 import users_pb2
from ...contract.users.v1.users_pb2_grpc import UserServiceStub
from ..application.ports import Bill, PaymentState, Product
from ..domain.money import Money
from ..domain.order import Line


class CatalogClient:
    """Products and their stock, from the catalog service."""

    def __init__(self, catalog: CatalogServiceStub, stock: StockServiceStub) -> None:
        self._catalog = catalog
        self._stock = stock

    async def products(self, ids: Sequence[str]) -> Mapping[str, Product]:
        """Return the products of `ids` that exist, in one call."""
        request = catalog_pb2.BatchGetProductsRequest(ids=ids)
        found = (await self._catalog.BatchGetProducts(request)).products
        return {p.id: Product(p.id, p.name, Money.of(p.price, p.currency)) for p in found}

    async def reserve(self, order_id: str, lines: Sequence[Line]) -> None:
        """Hold all lines or none; FailedPreconditionError (OUT_OF_STOCK) where stock lacks."""
        asked = [
            catalog_pb2.StockLine(product_id=line.product_id, quantity=line.quantity)
            for line in lines
        ]
        await self._stock.Reserve(catalog_pb2.ReserveRequest(order_id=order_id, lines=asked))

    async def commit(self, order_id: str) -> None:
        """Turn the reservation into a sale; FailedPreconditionError once it was released."""
        await self._stock.Commit(catalog_pb2.CommitRequest(order_id=order_id))

    async def release(self, order_id: str) -> None:
        """Give back what the order holds; for good."""
        await self._stock.Release(catalog_pb2.ReleaseRequest(order_id=order_id))


class AccountsClient:
    """Accounts, from the users service."""

    def __init__(self, users: UserServiceStub) -> None:
        self._users = users

    async def require_active(self, user_id: str) -> None:
        """Raise FailedPreconditionError unless the account exists and is active."""
        try:
            user = await self._users.GetUser(users_pb2.GetUserRequest(id=user_id))
        except NotFoundError:
            user = users_pb2.User()
        if user.status != "active":
            raise FailedPreconditionError(
                f"account {user_id} is not active", reason="ACCOUNT_INACTIVE"
            )


class PaymentsClient:
    """Charging for orders, by the payments service."""

    def __init__(self, payments: PaymentServiceStub) -> None:
        self._payments = payments

    async def prepare(self, user_id: str, method: str, details: payments_pb2.PaymentDetails) -> str:
        """Exchange a means of payment for a handle that may be kept."""
        prepared = await self._payments.PreparePayment(
            payments_pb2.PreparePaymentRequest(
                user_id=user_id, payment_method=method, payment_details=details
            )
        )
        return prepared.handle

    async def pay(self, order_id: str, handle: str, bill: Bill | None) -> PaymentState:
        """Pay with a prepared means; repeating it is the same payment.

        Without `bill`, payments asks for it, and whether the order still waits.
        """
        told = None if bill is None else payments_pb2.Bill(**asdict(bill))
        request = payments_pb2.PayOrderRequest(order_id=order_id, handle=handle, bill=told)
        payment = await self._payments.PayOrder(request)
        return PaymentState(payment.id, payment.status, payment.message)
