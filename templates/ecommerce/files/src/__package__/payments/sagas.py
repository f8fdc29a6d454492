"""The sagas of payments: take the money and confirm the order, or give everything back."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from typing import Any, NoReturn, Protocol, TypeVar

from prodkit.data.database import Database
from prodkit.data.saga import CompensateError, Saga, Step, StepFunction, StepRun
from prodkit.errors import FailedPreconditionError, NotFoundError, UnavailableError

from . import repository
from .provider import DeclinedError, ProviderClient
from .repository import Payment, Units
from .states import States
from .vault import Vault

T = TypeVar("T")

TOO_LATE = "the order can no longer be had"


def _patient(name: str, action: StepFunction, compensate: StepFunction | None = None) -> Step:
    """Return a step that outlasts a provider that is away.

    Some 50 minutes of trying to take the money, and a day of trying to give it back.
    """
    return Step(
        name,
        action,
        compensate,
        timeout=8.0,
        attempts=200,
        compensate_attempts=6000,
        wait_initial=0.5,
        wait_max=15.0,
    )


@dataclass(frozen=True, slots=True)
class Due:
    """What of a payment never changes."""

    id: str
    order_id: str
    handle: str
    amount: str
    currency: str

    @classmethod
    def of(cls, payment: Payment) -> Due:
        """Return that of one."""
        return cls(payment.id, payment.order_id, payment.handle, payment.amount, payment.currency)


def opening(payment: Payment, *, tokenized: bool) -> dict[str, Any]:
    """Return the state in which a payment's saga begins: steps need not read what is in it.

    `tokenized`: the provider gave a token, which nobody takes away again.
    """
    return {"payment_id": payment.id, "due": asdict(Due.of(payment)), "tokenized": tokenized}


class Orders(Protocol):
    """What payments ask of orders."""

    async def confirm(self, order_id: str, payment_id: str) -> None:
        """Confirm a paid order; FailedPreconditionError where it can no longer be had."""

    async def hold(self, order_id: str, payment_id: str) -> None:
        """Keep the order from expiring while it is paid; FailedPreconditionError: too late."""


class PaymentSagas:
    """The steps, and the two sagas that they make."""

    def __init__(
        self,
        *,
        database: Database,
        units: Units,
        states: States,
        provider: ProviderClient,
        orders: Orders,
        vault: Vault,
    ) -> None:
        self._database = database
        self._units = units
        self._states = states
        self._provider = provider
        self._orders = orders
        self._vault = vault
        self.payment = Saga(
            "payment",
            _patient("token", self._begin, self._give_up),
            _patient("authorize", self._authorize, self._give_back),
            _patient("capture", self._capture),
            Step("confirm", self._confirm, timeout=8.0, attempts=50, wait_max=15.0),
        )
        # Past the point of no return: what is owed is paid back, however long it takes.
        self.refund = Saga("refund", Step("refund", self._give_back, timeout=8.0, attempts=None))

    async def _begin(self, run: StepRun) -> None:
        due = await self._due(run)
        if not run.state.get("tokenized"):
            await self._obtain_token(due, run.key)
        await self._hold(due)

    async def _hold(self, due: Due) -> None:
        """Make sure that the order waits: no money is taken for one that expires meanwhile."""
        try:
            await self._orders.hold(due.order_id, due.id)
        except FailedPreconditionError:
            await self._fail(due.id, TOO_LATE)

    async def _obtain_token(self, due: Due, key: str) -> None:
        row = await repository.get_means(self._database.fetch, due.handle)
        if row is not None and row["token"]:
            return
        means = self._vault.get(due.handle)
        if means is None:
            await self._fail(due.id, "the payment details must be entered again")
        token = await self._final(due.id, self._provider.tokenize(means, key))
        async with self._units() as work:
            await repository.set_token(work, due.handle, token)
        self._vault.drop(due.handle)

    async def _authorize(self, run: StepRun) -> None:
        due = await self._due(run)
        if run.attempt > 1:
            await self._hold(due)
        authorization, status = await self._final(due.id, self._ask(due))
        authorized = status == "authorized"
        await self._states.done(
            run,
            due.id,
            "authorized" if authorized else "",
            {"authorization": authorization, "authorized": authorized},
            authorization_id=authorization,
        )

    async def _ask(self, due: Due) -> tuple[str, str]:
        """Ask for the authorization; asking again brings the same one."""
        row = await repository.get_means(self._database.fetch, due.handle)
        token = "" if row is None else row["token"]
        return await self._provider.authorize(
            token, due.amount, due.currency, due.id, f"{due.id}:authorize"
        )

    async def _capture(self, run: StepRun) -> None:
        payment_id, authorization = run.state["payment_id"], run.state["authorization"]
        if run.state["authorized"]:
            key = f"{payment_id}:capture"
            await self._final(payment_id, self._provider.capture(authorization, key))
        elif await self._provider.status(authorization) != "captured":
            raise UnavailableError("the transfer has not arrived yet", reason="TRANSFER_PENDING")
        await self._states.done(run, payment_id, "captured")

    async def _confirm(self, run: StepRun) -> None:
        due = await self._due(run)
        try:
            await self._orders.confirm(due.order_id, due.id)
        except FailedPreconditionError:
            await self._fail(due.id, TOO_LATE)

    async def _give_back(self, run: StepRun) -> None:
        """Let go of what is held, return what was taken: whichever it is by now.

        Sagas that do this at once agree: the provider is given one key, and does it once.
        """
        payment_id, authorization = run.state["payment_id"], await self._authorization(run)
        if authorization is None:
            return
        status = await self._provider.status(authorization)
        try:
            if status in ("authorized", "pending"):
                await self._provider.void(authorization, f"{payment_id}:void")
            elif status == "captured":
                await self._provider.refund(authorization, f"{payment_id}:refund")
                status = "refunded"
        except DeclinedError as error:
            raise UnavailableError("the payment moved on meanwhile: look again") from error
        if status == "refunded":
            # The row may not know of the capture yet.
            await self._states.move(payment_id, "captured")
            await self._states.move(payment_id, "refunded")

    async def _authorization(self, run: StepRun) -> str | None:
        """Return the authorization, None if there is none; asking again finds a lost answer."""
        known: str | None = run.state.get("authorization")
        if known:
            return known
        try:
            return (await self._ask(await self._due(run)))[0]
        except DeclinedError:
            return None

    async def _give_up(self, run: StepRun) -> None:
        payment = await self._payment(run)
        self._vault.drop(payment.handle)
        message = payment.message or "the provider could not be reached in time"
        await self._states.move(payment.id, "failed", message)

    async def _due(self, run: StepRun) -> Due:
        """Return what the saga carries; a refund begins with less, and reads it."""
        carried = run.state.get("due")
        return Due(**carried) if carried else Due.of(await self._payment(run))

    async def _payment(self, run: StepRun) -> Payment:
        payment = await repository.get(self._database.fetch, run.state["payment_id"])
        if payment is None:
            raise NotFoundError(f"there is no payment {run.state['payment_id']}")
        return payment

    async def _final(self, payment_id: str, asked: Awaitable[T]) -> T:
        """Await what the provider is asked for; its no is final."""
        try:
            return await asked
        except DeclinedError as error:
            await self._fail(payment_id, error.message)

    async def _fail(self, payment_id: str, message: str) -> NoReturn:
        """Write down why, and undo."""
        await self._states.note(payment_id, message=message)
        raise CompensateError(message)
