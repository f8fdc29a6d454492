"""The policy: lets calls pass or refuses them, and tells its circuit how they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, Unpack

from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock, checked_clock
from prodkit.errors import CircuitOpenError, Code, rejection
from prodkit.events import Event
from prodkit.options import checked_name, function
from prodkit.pipeline import Next
from prodkit.policies._verdict import judged_once
from prodkit.policies.circuit_breaker.circuit import Change, Circuit, State
from prodkit.policies.circuit_breaker.events import (
    CallRejected,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitIsolated,
    CircuitOpened,
    CircuitReset,
)
from prodkit.policies.circuit_breaker.judgement import default_is_failure, verdict
from prodkit.policies.circuit_breaker.options import DEFAULTS, Choices, Options
from prodkit.policies.circuit_breaker.store import Outcome
from prodkit.traits import Trait

T = TypeVar("T")
_POLICY = "circuit_breaker"
_CLOSED, _OPEN, _HALF_OPEN, _ = State  # reading a member off its class is slow
_OK = Code.OK
_FAILED, _WITHDRAWN = Outcome.FAILED, Outcome.WITHDRAWN
#: What `call.status` is where the code comes after the messages: in an RPC, in a websocket.
_SAID_LAST = (0, 101)
_TOO_MANY_FAILED = "open: too many calls failed"
_TOO_MANY_SLOW = "open: too many calls were slow"


class CircuitBreaker:
    """Refuses calls with CircuitOpenError while what it guards is failing; one object a dependency.

    It opens when too many of its calls fail or are slow. After a break a few may try: when all
    succeed it closes, when one fails it opens again. The options are keywords, explained at
    `Options`; `options` is a set to start from, for breakers that have most in common. `is_failure`
    says of a call and its exception, or None, whether it speaks against the callee. Limits in time
    are looked at when a call ends or comes: there is no timer.

    Cancelled calls, and calls that a policy further in refused, are neither success nor failure; a
    probe among them gives its permit back. Results of calls begun in an earlier state never count.
    A stream is judged, and timed, by its first message (while closed and with nothing timed, one
    that was not declared a stream is counted when it ends). Put it inside of Retry, or one call's
    retries count as one. And put a Timeout inside of it: what hangs until a Deadline further out
    ends it is cancelled, to the breaker, and never counts.

    It belongs to one event loop. Raises ConfigurationError for options out of range.
    """

    __slots__ = ("_circuit", "_is", "_is_failure", "_monotonic", "_timeless", "name")

    traits = Trait.BREAKS

    def __init__(
        self,
        name: str,
        *,
        is_failure: Callable[[Call, Exception | None], bool] = default_is_failure,
        clock: Clock = SYSTEM_CLOCK,
        options: Options = DEFAULTS,
        **choices: Unpack[Choices],
    ) -> None:
        self.name = checked_name(name)
        self._is = f"the circuit {name!r} is "  # made beforehand: many are told so at once
        self._circuit = Circuit(options.changed(choices))
        self._timeless = self.options.timeless
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
        """Where the circuit is; OPEN lasts until a call comes after the break."""
        return self._circuit.state

    def isolate(self) -> None:
        """Refuse every call until `reset`, for instance while an operator repairs something."""
        self._circuit.isolate()

    def reset(self) -> None:
        """Close, with every earlier result forgotten."""
        self._circuit.reset()

    def reconfigure(self, *, options: Options | None = None, **choices: Unpack[Choices]) -> None:
        """Change options while calls run; state and counts stay, and what is None or left out.

        `options` replaces all of them first. A break under way keeps its length. Raises
        ConfigurationError, with nothing changed, for options out of range and for another kind of
        window.
        """
        self._circuit.reconfigure(self.options.reconfigured(choices, options))
        self._timeless = self.options.timeless

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        """Let `call` proceed if the circuit admits it, and learn from how it ends."""
        circuit = self._circuit
        if circuit.state is not _CLOSED or circuit.untold or circuit.slow_calls or call.streaming:
            now = self._monotonic()
            admitted = circuit.admit(now)
            if circuit.untold:
                self._tell(call)
            if admitted is not None:
                return await self._watched(call, proceed, admitted, now)
            if not circuit.options.shadow:
                raise self._refusal(call, now)
            self._refusal(call, now)
            return await proceed(call)
        ticket = circuit.ticket
        try:
            result = await proceed(call)
        except Exception as error:
            self._ended(call, ticket, error)
            raise
        if self._is_failure is default_is_failure and call.code is _OK:
            circuit.succeeded(ticket, 0.0 if self._timeless else self._monotonic())
        else:
            self._ended(call, ticket, None)
        return result

    async def _watched(self, call: Call, proceed: Next[T], ticket: int, began: float) -> T:
        """Proceed with a call that is judged by its first message; a probe's permit comes back."""
        try:
            return await judged_once(
                call, proceed, lambda error: self._judge(call, ticket, error, began)
            )
        finally:
            self._circuit.withdrawn(ticket)

    def _ended(self, call: Call, ticket: int, error: Exception | None) -> None:
        if not call.streaming:
            self._judge(call, ticket, error)
        elif call.status in _SAID_LAST:  # it was none when it began: its first message has left
            self._circuit.succeeded(ticket, self._monotonic())
        else:
            self._judge(call, ticket, None)

    def _judge(
        self, call: Call, ticket: int, error: Exception | None, began: float | None = None
    ) -> None:
        circuit, outcome = self._circuit, verdict(call, error, self._is_failure)
        if outcome is _WITHDRAWN:
            return
        now = self._monotonic()
        limit = circuit.options.slow_call_duration
        slow = limit is not None and began is not None and now - began >= limit
        if outcome is _FAILED:
            circuit.failed(ticket, now, slow)
        else:
            circuit.succeeded(ticket, now, slow)
        if circuit.untold:
            self._tell(call)

    def _tell(self, call: Call) -> None:
        circuit = self._circuit
        changes, circuit.untold = circuit.untold, ()
        for change in changes:
            call.emit(self._event(change))

    def _event(self, change: Change) -> Event:
        circuit = self._circuit
        if change is Change.OPENED:
            return CircuitOpened(
                _POLICY,
                self.name,
                measured=circuit.measured,
                threshold=circuit.threshold,
                retry_after=circuit.last_break,
                slow=circuit.slow,
            )
        if change is Change.HALF_OPENED:
            return CircuitHalfOpened(_POLICY, self.name, circuit.options.half_open_probes)
        return _TOLD[change](_POLICY, self.name)

    def _refusal(self, call: Call, now: float) -> CircuitOpenError:
        circuit = self._circuit
        state, measured, threshold = circuit.state, circuit.measured, circuit.threshold
        if state is _OPEN:
            why = _TOO_MANY_SLOW if circuit.slow else _TOO_MANY_FAILED
            retry_after: float | None = circuit.retry_at - now
        elif state is _HALF_OPEN:
            why = "half-open and all its probes are out"
            retry_after = circuit.retry_after(now)
            measured = threshold = circuit.options.half_open_probes
        else:
            why, retry_after = "isolated by hand", None
        if call.listener is not None:
            shadow = circuit.options.shadow
            call.emit(
                CallRejected(_POLICY, self.name, state, measured, threshold, retry_after, shadow)
            )
        return rejection(
            CircuitOpenError, self._is + why, call, _POLICY, measured, threshold, retry_after
        )

    def __repr__(self) -> str:
        return f"CircuitBreaker({self.name!r}, {self.state.value}, {self.options})"


_TOLD: dict[Change, Callable[[str, str], Event]] = {
    Change.CLOSED: CircuitClosed,
    Change.ISOLATED: CircuitIsolated,
    Change.RESET: CircuitReset,
}
