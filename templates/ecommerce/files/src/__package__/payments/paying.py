"""Paying for orders: one live payment an order, driven by its saga."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from prodkit.data.database import Database
from prodkit.data.saga import SagaRunner
from prodkit.errors import (
    AlreadyExistsError,
    Code,
    FailedPreconditionError,
    NotFoundError,
    ServiceError,
)

from ..identity import new_id
from . import repository
from .means import Means
from .provider import DeclinedError, ProviderClient, Token
from .repository import Payment, Units, Work
from .sagas import PaymentSagas, opening
from .vault import Vault

#: What a provider that is away looks like; the payment waits for it.
AWAY = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.UNKNOWN, Code.INTERNAL})


@dataclass(frozen=True, slots=True)
class Bill:
    """What is to be paid."""

    order_id: str
    user_id: str
    status: str
    amount: str
    currency: str


class Paying:
    """Takes payments in and sees them through; `patience` (seconds) is how long a caller waits."""

    def __init__(
        self,
        *,
        database: Database,
        units: Units,
        provider: ProviderClient,
        vault: Vault,
        runner: SagaRunner,
        sagas: PaymentSagas,
        patience: float,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._units = units
        self._provider = provider
        self._vault = vault
        self._runner = runner
        self._sagas = sagas
        self._patience = patience
        self._now = now

    async def prepare(self, user_id: str, means: Means) -> str:
        """Exchange a means of payment for a handle.

        While the provider is away the details wait in memory, and the payment with them.
        """
        handle = new_id("means")
        token: Token | None = None
        try:
            token = await self._provider.tokenize(means, handle)
        except DeclinedError:
            raise
        except ServiceError as error:
            if error.code not in AWAY:
                raise
            self._vault.put(handle, means)
        tell = self._database.execute
        await repository.add_means(tell, handle, user_id, means.method, token, self._now())
        return handle

    async def pay(self, bill: Bill, handle: str, payment_id: str) -> Payment:
        """Begin the payment and wait for it a little. AlreadyExistsError: there is a live one."""
        if bill.status != "pending":
            raise FailedPreconditionError(
                f"order {bill.order_id} is {bill.status}", reason="ORDER_STATE"
            )
        means = await repository.get_means(self._database.fetch, handle)
        if means is None or means["user_id"] != bill.user_id:
            raise NotFoundError(f"there is no means of payment {handle}", reason="MEANS_NOT_FOUND")
        now = self._now().isoformat()
        payment = Payment(
            id=payment_id,
            order_id=bill.order_id,
            user_id=bill.user_id,
            status="pending",
            method=means["method"],
            handle=handle,
            amount=bill.amount,
            currency=bill.currency,
            card_last4=means["last4"] if means["method"] == "credit_card" else "",
            created_at=now,
            updated_at=now,
        )
        tokenized = bool(means["token"])
        state = opening(payment, tokenized=tokenized)
        async with self._units() as work:
            await repository.add(work, payment)
            await self._runner.begin(work.tx, self._sagas.payment, payment.id, state)
        return await self._driven(payment.id, tokenized=tokenized)

    async def follow(self, payment_id: str) -> Payment:
        """Drive a payment on for as long as a caller waits, and say where it stands."""
        payment = await self.get(payment_id)
        means = await repository.get_means(self._database.fetch, payment.handle)
        return await self._driven(payment_id, tokenized=means is not None and bool(means["token"]))

    async def _driven(self, payment_id: str, *, tokenized: bool) -> Payment:
        # Without a token the provider was away a moment ago: nobody waits for its return.
        await self._runner.drive(payment_id, within=self._patience if tokenized else 0.0)
        return await self.get(payment_id)

    async def get(self, payment_id: str) -> Payment:
        """Return one payment."""
        payment = await repository.get(self._database.fetch, payment_id)
        if payment is None:
            raise _no_payment(payment_id)
        return payment

    async def of_order(self, order_id: str) -> Payment | None:
        """Return the newest payment of an order."""
        return await repository.newest_of_order(self._database.fetch, order_id)

    async def refund(self, payment_id: str) -> Payment:
        """Give a captured payment back; repeating it changes nothing."""
        payment = await self.get(payment_id)
        if payment.status not in ("captured", "refunded"):
            raise FailedPreconditionError(
                f"payment {payment_id} is {payment.status}", reason="PAYMENT_STATE"
            )
        if payment.status == "captured":
            try:
                async with self._units() as work:
                    await self.begin_refund(work, payment)
            except AlreadyExistsError:
                pass
            await self._runner.drive(_refund_id(payment), within=self._patience)
        return await self.get(payment_id)

    async def begin_refund(self, work: Work, payment: Payment) -> None:
        """Begin the refund in a unit of work; AlreadyExistsError where it has begun."""
        state = {"payment_id": payment.id, "authorization": payment.authorization_id}
        await self._runner.begin(work.tx, self._sagas.refund, _refund_id(payment), state)

    async def order_cancelled(self, work: Work, order_id: str) -> None:
        """Give back what a cancelled order has paid.

        A payment that is still under way finds out by itself, when it asks for the confirmation.
        """
        payment = await repository.newest_of_order(work.execute, order_id)
        if payment is None or payment.status != "captured":
            return
        if await self._runner.store.get(_refund_id(payment)) is None:
            await self.begin_refund(work, payment)


def _refund_id(payment: Payment) -> str:
    return f"refund-{payment.id}"


def _no_payment(payment_id: str) -> NotFoundError:
    return NotFoundError(f"there is no payment {payment_id}", reason="PAYMENT_NOT_FOUND")
