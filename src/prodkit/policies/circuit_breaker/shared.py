"""A breaker that a fleet of processes has together: one circuit, kept by a store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from secrets import token_hex
from typing import TypeVar, Unpack

from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock, checked_clock, seconds
from prodkit.errors import Code
from prodkit.options import checked_name, function
from prodkit.pipeline import Next
from prodkit.policies._verdict import judged_once
from prodkit.policies.circuit_breaker.circuit import Circuit, State
from prodkit.policies.circuit_breaker.fleet import Fleet
from prodkit.policies.circuit_breaker.judgement import default_is_failure, verdict
from prodkit.policies.circuit_breaker.options import DEFAULTS, Choices, Options
from prodkit.policies.circuit_breaker.store import BreakerStore, Outcome
from prodkit.policies.circuit_breaker.view import View
from prodkit.traits import Trait

T = TypeVar("T")
_CLOSED = State.CLOSED  # reading a member off its class is slow
_PASSED, _FAILED, _WITHDRAWN = Outcome
_OK = Code.OK
#: What `call.status` is where the code comes after the messages: in an RPC, in a websocket.
_SAID_LAST = (0, 101)


class SharedCircuitBreaker:
    """A CircuitBreaker that opens in all processes, and sends N half-open probes from all of them.

    Processes whose breakers have the same `name` in the same `store` are a fleet. Closed, each
    judges its calls by its own window, and no call waits for the store but one every `refresh`
    seconds, which looks whether the fleet is still closed: so the others follow a trip within
    `refresh`, if they are called. After the break calls ask for a permit; `half_open_probes` are
    out in the whole fleet, each for `probe_timeout` at most, whatever dies. How a probe ended is
    told before its caller gets the answer. Nothing late counts: generations and tickets are random.

    A store that raises, or takes `store_timeout` seconds, is away: BreakerStoreFailed is emitted
    and the process goes on alone from where the fleet was, as a CircuitBreaker, with
    `half_open_probes` of its own. Every `refresh` seconds a call asks anew; that it tripped
    meanwhile is told then, for the rest the fleet is right. 1 s without news costs a fleet little;
    half a second is long for a store, and one call in `refresh` waits for it.

    All else, options too, is as in CircuitBreaker; but a probe that hangs is no failure, its permit
    comes back; and with `shadow` the store is written to all the same: give such a breaker a name
    of its own. Options out of range raise ConfigurationError.
    """

    __slots__ = ("_circuit", "_fleet", "_is_failure", "_monotonic", "_view", "name")

    traits = Trait.BREAKS

    def __init__(
        self,
        name: str,
        store: BreakerStore,
        *,
        refresh: float | timedelta = 1.0,
        store_timeout: float | timedelta = 0.5,
        is_failure: Callable[[Call, Exception | None], bool] = default_is_failure,
        clock: Clock = SYSTEM_CLOCK,
        options: Options = DEFAULTS,
        **choices: Unpack[Choices],
    ) -> None:
        self.name = checked_name(name)
        self._circuit = Circuit(options.changed(choices))
        self._view = View(self._circuit, seconds("refresh", refresh))
        self._fleet = Fleet(name, store, self._view, seconds("store_timeout", store_timeout), clock)
        self._is_failure = function("is_failure", is_failure)
        self._monotonic = checked_clock(clock).monotonic

    @property
    def options(self) -> Options:
        """The options as they are now."""
        return self._circuit.options

    @property
    def slow_after(self) -> float | None:
        """The seconds after which a call is slow, None where nothing is timed."""
        return self._circuit.options.slow_call_duration

    @property
    def state(self) -> State:
        """Where the fleet's circuit was when we last heard of it."""
        return self._view.state

    @property
    def alone(self) -> bool:
        """Whether the store did not answer when it was last asked."""
        return self._view.alone

    def reconfigure(
        self,
        *,
        refresh: float | timedelta | None = None,
        store_timeout: float | timedelta | None = None,
        **choices: Unpack[Choices],
    ) -> None:
        """Change options of this process while calls run; None keeps one; see CircuitBreaker."""
        view, fleet = self._view, self._fleet
        timings = (
            view.refresh if refresh is None else seconds("refresh", refresh),
            fleet.timeout if store_timeout is None else seconds("store_timeout", store_timeout),
        )
        self._circuit.reconfigure(self.options.reconfigured(choices))
        view.refresh, fleet.timeout = timings

    async def isolate(self) -> None:
        """Refuse every call of the fleet until `reset`.

        Raises UnavailableError if the store does not answer: then it may not have happened.
        """
        await self._fleet.isolate()

    async def reset(self) -> None:
        """Close for the fleet, with every earlier result forgotten; raises as `isolate` does."""
        await self._fleet.reset()

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        """Let `call` proceed if the fleet's circuit admits it, and learn from how it ends."""
        circuit, now = self._circuit, self._monotonic()
        if (
            circuit.state is not _CLOSED
            or now >= self._view.ask_at
            or circuit.slow_calls
            or call.streaming
        ):
            return await self._considered(call, proceed, now)
        ticket = circuit.ticket
        try:
            result = await proceed(call)
        except Exception as error:
            await self._ended(call, ticket, error)
            raise
        if self._is_failure is default_is_failure and call.code is _OK:
            circuit.succeeded(ticket, self._monotonic())
        else:
            await self._ended(call, ticket, None)
        return result

    async def _considered(self, call: Call, proceed: Next[T], now: float) -> T:
        view, fleet = self._view, self._fleet
        if view.should_ask(now):
            word = token_hex(16)
            standing = await fleet.look(call, word)
            now = self._monotonic()
            if standing is not None and standing.permit:
                view.begins(word, now)
                return await self._probed(call, proceed, word, now)
        ticket = view.admit(now)
        fleet.tell(call)
        if ticket is not None:
            return await self._watched(call, proceed, ticket, now)
        if not self.options.shadow:
            raise fleet.refusal(call, now)
        fleet.refusal(call, now)
        return await proceed(call)

    async def _probed(self, call: Call, proceed: Next[T], word: str, began: float) -> T:
        """Proceed with a probe that the store admitted; how it went is told before its caller.

        At its first message it is told at once: the stream may outlast the lease.
        """
        telling: asyncio.Task[None] | None = None

        def judge(error: Exception | None) -> None:
            nonlocal telling
            outcome = self._outcome(call, error, began)
            telling = asyncio.ensure_future(self._fleet.settle(call, word, outcome))

        try:
            return await judged_once(call, proceed, judge)
        except asyncio.CancelledError:
            if telling is None:
                await self._fleet.settle(call, word, _WITHDRAWN)
            raise
        finally:
            if telling is not None:
                await telling

    async def _watched(self, call: Call, proceed: Next[T], ticket: int, began: float) -> T:
        """Proceed with a call that the local circuit admitted, judged by its first message."""
        try:
            result = await judged_once(
                call, proceed, lambda error: self._count(call, ticket, error, began)
            )
        except Exception:
            await self._fleet.report(call)
            raise
        finally:
            self._circuit.withdrawn(ticket)
            self._view.ends(ticket)
        await self._fleet.report(call)
        return result

    async def _ended(self, call: Call, ticket: int, error: Exception | None) -> None:
        if call.streaming and call.status in _SAID_LAST:  # a stream nobody declared; it spoke
            self._circuit.succeeded(ticket, self._monotonic())
        else:
            self._count(call, ticket, None if call.streaming else error)
        await self._fleet.report(call)

    def _count(
        self, call: Call, ticket: int, error: Exception | None, began: float | None = None
    ) -> None:
        """Count in the local circuit how a call ended that it admitted."""
        circuit, now = self._circuit, self._monotonic()
        was, outcome = circuit.state, verdict(call, error, self._is_failure)
        slow = self._was_slow(began, now)
        self._view.ends(ticket)
        if outcome is _WITHDRAWN:
            circuit.withdrawn(ticket)
        elif outcome is _FAILED:
            circuit.failed(ticket, now, slow)
        else:
            circuit.succeeded(ticket, now, slow)
        if was is _CLOSED and circuit.state is not _CLOSED:
            self._view.trips(now)
        self._fleet.tell(call)

    def _outcome(self, call: Call, error: Exception | None, began: float) -> Outcome:
        """Say how a probe ended; a slow one failed."""
        outcome = verdict(call, error, self._is_failure)
        slow = self._was_slow(began, self._monotonic())
        return _FAILED if slow and outcome is _PASSED else outcome

    def _was_slow(self, began: float | None, now: float) -> bool:
        limit = self.options.slow_call_duration
        return limit is not None and began is not None and now - began >= limit

    def __repr__(self) -> str:
        alone = ", alone" if self._view.alone else ""
        return f"SharedCircuitBreaker({self.name!r}, {self.state.value}{alone}, {self.options})"
