"""Checkout: the saga that turns a wish into a paid order, or leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from prodkit.data.saga import CompensateError, Saga, SagaRunner, SagaStatus, Step, StepRun
from prodkit.errors import FailedPreconditionError, UnavailableError

from ..domain.order import Line, Order, PaymentStatus, Status
from .fulfilment import Fulfilment
from .placing import Placing, Wish
from .ports import Bill, Catalog, Payments, Work

#: Seconds until a payment that is under way is looked at again; the order itself does not wait for
#: that: payments confirms it.
LOOK_AGAIN = 10.0


class DeclinedError(FailedPreconditionError):
    """The payment did not go through; the order is cancelled."""

    reason = "PAYMENT_DECLINED"


class CheckoutSteps:
    """What the saga does, and undoes. The payment confirms the order when it is captured.

    The stock was reserved before the saga was written, and is held for `sure` at least: who comes
    to the payment later than that, after an outage, asks for it again before money is taken.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        payments: Payments,
        fulfilment: Fulfilment,
        sure: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._catalog = catalog
        self._payments = payments
        self._fulfilment = fulfilment
        self._sure = sure
        self._now = now
        pay = Step(
            "pay",
            self._pay,
            self._cancel,
            timeout=10.0,
            attempts=250,
            compensate_attempts=20,
            wait_initial=0.5,
            wait_max=15.0,
        )
        self.saga = Saga("checkout", pay)

    async def _pay(self, run: StepRun) -> None:
        order_id = run.state["order_id"]
        if run.attempt > 1:
            bill = None  # payments knows it, or asks how the order stands by now
        elif self._now() - datetime.fromisoformat(run.state["placed_at"]) < self._sure:
            bill = Bill(**run.state["bill"])
        else:
            bill = None
            # Where even this fails, the confirmation finds out, and the money goes back.
            await self._catalog.reserve(order_id, [Line(**line) for line in run.state["lines"]])
        payment = await self._payments.pay(order_id, run.state["handle"], bill)
        if payment.status == "captured":
            order = await self._fulfilment.get(order_id)
            if order.status is Status.CANCELLED:
                raise CompensateError("the order was cancelled")
            if order.status is not Status.PENDING:
                return
        if payment.status in ("failed", "refunded"):
            await self._fulfilment.payment_stands(order_id, PaymentStatus.FAILED, payment.id)
            raise CompensateError(payment.message or "the payment did not go through")
        await self._fulfilment.payment_stands(order_id, PaymentStatus.PENDING, payment.id)
        # Payments has waited already; whoever waits for the checkout need not wait again.
        raise UnavailableError(
            "the payment is under way", reason="PAYMENT_PENDING", retry_after=LOOK_AGAIN
        )

    async def _cancel(self, run: StepRun) -> None:
        """Cancel the order: its event releases the stock, and refunds what was paid."""
        try:
            await self._fulfilment.cancel(run.state["order_id"], "the payment did not go through")
        except FailedPreconditionError:
            order = await self._fulfilment.get(run.state["order_id"])
            if order.status is not Status.REFUNDED:
                raise


def _opening(order: Order, handle: str) -> dict[str, Any]:
    """Return the state in which the saga of an order begins."""
    total = order.totals.total
    bill = Bill(order.user_id, str(total), total.currency)
    return {
        "order_id": order.id,
        "handle": handle,
        "lines": [asdict(Line(item.product_id, item.quantity)) for item in order.items],
        "bill": asdict(bill),
        "placed_at": order.created_at.isoformat(),
    }


class Checkout:
    """Begins checkouts and follows them; `patience` (seconds) is how long a caller waits."""

    def __init__(
        self, *, placing: Placing, steps: CheckoutSteps, runner: SagaRunner, patience: float
    ) -> None:
        self._placing = placing
        self._steps = steps
        self._runner = runner
        self._patience = patience

    async def begin(self, wish: Wish, handle: str) -> Order:
        """Place the order and begin its saga, in one transaction."""

        async def ending(work: Work, order: Order) -> None:
            state = _opening(order, handle)
            await self._runner.begin(work.tx, self._steps.saga, order.id, state)

        return await self._placing.place(wish, ending)

    async def finish(self, order_id: str) -> tuple[str, str]:
        """Follow the saga; return the payment's status and a word about it.

        Raises DeclinedError where the payment did not go through.
        """
        record = await self._runner.drive(order_id, within=self._patience)
        if record.status is SagaStatus.COMPLETED:
            return "paid", ""
        if record.status is SagaStatus.RUNNING:
            return "pending", "the payment is under way and settles by itself"
        raise DeclinedError(
            "the payment did not go through, and the order is cancelled",
            metadata={"order_id": order_id},
        )
