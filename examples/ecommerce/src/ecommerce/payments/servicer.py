"""Payments, as the contract shows them."""

from __future__ import annotations

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty
from prodkit.call import Principal, current_call
from prodkit.data.database import Database
from prodkit.errors import NotFoundError
from prodkit.policies.idempotency import current_claim

from ..contract.payments.v1 import payments_pb2 as pb, payments_pb2_grpc as rpc
from ..identity import caller, new_id
from ..wire import Context, timestamp
from . import repository
from .clients import OrdersClient
from .means import means_of
from .paying import Bill, Paying
from .provider import DeclinedError
from .repository import Payment
from .webhooks import Webhooks

DEFAULT_PAGE_SIZE = 20
SEES_ALL = "payments:refund"


class PaymentServicer(rpc.PaymentServiceServicer):
    """Paying, looking, refunding."""

    def __init__(
        self, *, database: Database, paying: Paying, orders: OrdersClient, webhooks: Webhooks
    ) -> None:
        self._database = database
        self._paying = paying
        self._orders = orders
        self._webhooks = webhooks

    async def CreatePayment(self, request: pb.CreatePaymentRequest, context: Context) -> pb.Payment:
        """Pay; under a key, a repetition takes up the same payment."""
        means = means_of(request.payment_method, request.payment_details)
        bill = await self._orders.bill(request.order_id)
        if bill.user_id != caller().subject:
            raise NotFoundError(f"there is no order {request.order_id}", reason="ORDER_NOT_FOUND")
        claim = current_claim()
        payment_id = new_id("payment") if claim is None else f"payment-{claim.id[:20]}"
        begun = await self._paying.of_order(bill.order_id)
        if begun is not None and begun.id == payment_id:
            return _answer(await self._paying.follow(payment_id))
        handle = await self._paying.prepare(bill.user_id, means)
        return _answer(await self._paying.pay(bill, handle, payment_id))

    async def GetPayment(self, request: pb.GetPaymentRequest, context: Context) -> pb.Payment:
        """Return one payment."""
        payment = await self._paying.get(request.id)
        if not _may_see(caller(), payment):
            raise NotFoundError(f"there is no payment {request.id}", reason="PAYMENT_NOT_FOUND")
        return _payment(payment)

    async def ListPayments(
        self, request: pb.ListPaymentsRequest, context: Context
    ) -> pb.ListPaymentsResponse:
        """Return a page of the caller's payments."""
        async with self._database.read() as tx:
            found, cursor = await repository.page_of_user(
                tx,
                caller().subject,
                size=request.page_size or DEFAULT_PAGE_SIZE,
                cursor=request.page_token,
            )
        return pb.ListPaymentsResponse(
            payments=[_payment(payment) for payment in found], next_page_token=cursor
        )

    async def RefundPayment(self, request: pb.RefundPaymentRequest, context: Context) -> pb.Payment:
        """Give everything back."""
        return _payment(await self._paying.refund(request.id))

    async def ReceiveWebhook(self, request: HttpBody, context: Context) -> Empty:
        """Take the provider's word."""
        call = current_call()
        signature = call.metadata.get("x-provider-signature", "") if call is not None else ""
        await self._webhooks.receive(request.data, signature)
        return Empty()

    async def PreparePayment(
        self, request: pb.PreparePaymentRequest, context: Context
    ) -> pb.PreparedPayment:
        """Exchange a means of payment for a handle."""
        means = means_of(request.payment_method, request.payment_details)
        return pb.PreparedPayment(handle=await self._paying.prepare(request.user_id, means))

    async def PayOrder(self, request: pb.PayOrderRequest, context: Context) -> pb.Payment:
        """Pay, for orders: the payment is begun once; asking again only tells how it stands."""
        payment = await self._paying.of_order(request.order_id)
        if payment is not None and payment.handle == request.handle:
            return _payment(payment)
        bill = _bill(request) or await self._orders.bill(request.order_id)
        return _payment(await self._paying.pay(bill, request.handle, new_id("payment")))


def _bill(request: pb.PayOrderRequest) -> Bill | None:
    """Return what orders tell is to be paid; that the order still waits is found by holding it."""
    if not request.HasField("bill"):
        return None
    told = request.bill
    return Bill(request.order_id, told.user_id, "pending", told.amount, told.currency)


def _may_see(principal: Principal, payment: Payment) -> bool:
    return (
        payment.user_id == principal.subject
        or SEES_ALL in principal.permissions
        or principal.service is not None
    )


def _answer(payment: Payment) -> pb.Payment:
    """Return the payment to the one who pays; a decline is said as one."""
    if payment.status == "failed":
        raise DeclinedError(
            payment.message or "the payment was declined", metadata={"payment_id": payment.id}
        )
    return _payment(payment)


def _payment(payment: Payment) -> pb.Payment:
    return pb.Payment(
        id=payment.id,
        order_id=payment.order_id,
        user_id=payment.user_id,
        status=payment.status,
        payment_method=payment.method,
        amount=payment.amount,
        currency=payment.currency,
        card_last4=payment.card_last4,
        transaction_id=payment.authorization_id,
        message=payment.message,
        created_at=timestamp(payment.created_at),
        updated_at=timestamp(payment.updated_at),
    )
