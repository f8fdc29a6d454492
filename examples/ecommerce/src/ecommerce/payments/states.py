"""Moving a payment along: each move is one conditional update, with its event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from prodkit.data.saga import StepRun
from prodkit.messaging.event import Event

from . import repository
from .metrics import PaymentMetrics
from .repository import Payment, Units, Work


class States:
    """Writes what became of payments, whoever learned it first: a saga or a webhook."""

    def __init__(
        self, units: Units, metrics: PaymentMetrics, *, now: Callable[[], datetime]
    ) -> None:
        self._units = units
        self._metrics = metrics
        self._now = now

    async def move(self, payment_id: str, to: str, message: str = "") -> Payment | None:
        """Move a payment if its present state admits it; None where it does not."""
        async with self._units() as work:
            payment = await self.move_in(work, payment_id, to, message)
        if payment is not None:
            self._metrics.settled(payment)
        return payment

    async def report(self, payment_id: str, to: str) -> None:
        """Move a payment as the provider reports; what the report tells too late writes nothing."""
        status = await repository.status_of(self._units.database.fetch, payment_id)
        # Not what is impossible now, but what is for good: the state before `to` may be on its way.
        if status is not None and repository.may_reach(status, to):
            await self.move(payment_id, to)

    async def move_in(
        self, work: Work, payment_id: str, to: str, message: str = "", **learned: str
    ) -> Payment | None:
        """Do the same in a unit of work that is open, and keep what was `learned` if it moves."""
        payment = await repository.move(
            work, payment_id, to, self._now(), message=message, **learned
        )
        if payment is not None and to != "authorized":
            work.record(_event(f"payment.{to}", payment))
        return payment

    async def done(
        self,
        run: StepRun,
        payment_id: str,
        to: str,
        result: Mapping[str, Any] | None = None,
        **learned: str,
    ) -> None:
        """Move a payment, and record with it what was learned and that its saga's step is done.

        An empty `to` leaves the payment where it is.
        """
        payment = None
        async with self._units() as work:
            if to:
                payment = await self.move_in(work, payment_id, to, **learned)
            if learned and payment is None:
                await repository.note(work.execute, payment_id, **learned)
            await run.complete(work.tx, result)
        if payment is not None:
            self._metrics.settled(payment)

    async def note(self, payment_id: str, **values: str) -> None:
        """Write what was learned of a payment without moving it."""
        await repository.note(self._units.database.execute, payment_id, **values)


def _event(happened: str, payment: Payment) -> Event:
    # The order is the subject: what happens to one order is told in its sequence.
    return Event(
        type=happened,
        subject=payment.order_id,
        data={
            "payment_id": payment.id,
            "order_id": payment.order_id,
            "user_id": payment.user_id,
            "amount": payment.amount,
            "currency": payment.currency,
            "reason": payment.message,
        },
    )
