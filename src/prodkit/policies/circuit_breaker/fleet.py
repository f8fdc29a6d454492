"""The line from one breaker to its fleet: questions to the store, each answered in time or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from secrets import token_hex

from prodkit._tasks import complete
from prodkit.call import Call
from prodkit.clock import Alarm, Clock
from prodkit.errors import CircuitOpenError, UnavailableError
from prodkit.options import implementation
from prodkit.policies.circuit_breaker.circuit import State
from prodkit.policies.circuit_breaker.store import BreakerStore, Outcome, Standing
from prodkit.policies.circuit_breaker.telling import (
    POLICY,
    BreakerStoreFailed,
    change_of,
    refusal_of,
)
from prodkit.policies.circuit_breaker.view import View

_CLOSED = State.CLOSED  # reading a member off its class is slow


class Fleet:
    """Asks the store for one breaker, takes its answers over into the view, and tells of changes.

    A store that raises anything, or takes longer than `timeout`, did not answer.
    """

    __slots__ = ("_clock", "_name", "_store", "_told", "timeout", "view")

    def __init__(
        self, name: str, store: BreakerStore, view: View, timeout: float, clock: Clock
    ) -> None:
        self._name = name
        self._store = implementation("store", store, BreakerStore)
        self._clock = clock
        self._told = _CLOSED
        self.view = view
        self.timeout = timeout

    async def look(self, call: Call, word: str) -> Standing | None:
        """Ask where the fleet is, and for a permit if there are any; or tell that we tripped."""
        view, now = self.view, self._clock.monotonic()
        if view.must_tell:
            return await self._tell_trip(call)
        question = self._store.admit(self._name, word, now=now, terms=view.terms())
        try:
            return await self._ask(call, "admit", question)
        except asyncio.CancelledError:
            await self.settle(call, word, Outcome.WITHDRAWN)  # it may have been given a permit
            raise

    async def report(self, call: Call) -> None:
        """Open the fleet's circuit if the local one opened, now or when the store is next asked."""
        if self.view.must_tell and self.view.should_ask(self._clock.monotonic()):
            await self._tell_trip(call)

    async def _tell_trip(self, call: Call) -> Standing | None:
        view, now = self.view, self._clock.monotonic()
        question = self._store.trip(
            self._name,
            view.generation,
            now=now,
            terms=view.terms(),
            measured=view.circuit.measured,
            threshold=view.circuit.threshold,
        )
        return await self._ask(call, "trip", question)

    async def settle(self, call: Call, word: str, outcome: Outcome) -> None:
        """Tell how a probe ended; if the store is away, a failure begins a break of our own.

        To the end, whoever is cancelled meanwhile: half told, the permit is out for its lease.
        """
        await complete(self._settle(call, word, outcome))

    async def _settle(self, call: Call, word: str, outcome: Outcome) -> None:
        view, now = self.view, self._clock.monotonic()
        view.ends(word)
        terms = view.terms()
        question = self._store.settle(self._name, word, outcome, now=now, terms=terms)
        if await self._ask(call, "settle", question) is None and outcome is Outcome.FAILED:
            view.fails_alone(self._clock.monotonic(), terms.break_duration)

    async def isolate(self) -> None:
        """Isolate the fleet's circuit; raises what goes wrong."""
        await self._command(self._store.isolate(self._name, now=self._clock.monotonic()))

    async def reset(self) -> None:
        """Close the fleet's circuit; raises what goes wrong."""
        now = self._clock.monotonic()
        await self._command(self._store.reset(self._name, token_hex(16), now=now))

    async def _command(self, question: Awaitable[Standing]) -> None:
        view = self.view
        number = view.asks()
        try:
            standing = await self._in_time(question)
        finally:
            view.asked()
        now = self._clock.monotonic()
        view.hears(number, standing, now)
        view.ask_at = now  # the next call looks again, and tells

    async def _ask(self, call: Call, action: str, question: Awaitable[Standing]) -> Standing | None:
        view = self.view
        number = view.asks()
        try:
            standing = await self._in_time(question)
        except Exception as error:  # noqa: BLE001  # no fault of a store may fail what it guards
            view.lost(number, self._clock.monotonic())
            call.emit(BreakerStoreFailed(POLICY, self._name, action, repr(error)))
            return None
        finally:
            view.asked()
        view.hears(number, standing, self._clock.monotonic())
        self.tell(call)
        return standing

    async def _in_time(self, question: Awaitable[Standing]) -> Standing:
        alarm = Alarm(self._clock, self.timeout)
        try:
            return await question
        except asyncio.CancelledError:
            if not alarm.rang():
                raise
            raise UnavailableError(f"no answer in {self.timeout:g} s") from None
        finally:
            alarm.stop()

    def tell(self, call: Call) -> None:
        """Emit what changed since this process last told of it."""
        view = self.view
        view.circuit.untold = ()
        before, self._told = self._told, view.state
        if self._told is not before:
            call.emit(change_of(self._name, before, view))

    def refusal(self, call: Call, now: float) -> CircuitOpenError:
        """Tell that a call is refused; return what to raise."""
        rejected, error = refusal_of(self._name, call, self.view, now)
        call.emit(rejected)
        return error
