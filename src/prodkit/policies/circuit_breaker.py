"""Circuit breaker: stop calling what keeps failing, and find out carefully when it works again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock, seconds
from prodkit.errors import (
    FAILURE_CODES,
    CircuitOpenError,
    Code,
    ConfigurationError,
    RejectedError,
    code_of,
)
from prodkit.events import Event
from prodkit.pipeline import Next
from prodkit.policies._circuit import Circuit, ConsecutiveFailures, FailureRatio, State, Window

__all__ = [
    "CallRejected",
    "CircuitBreaker",
    "CircuitClosed",
    "CircuitHalfOpened",
    "CircuitOpened",
    "State",
    "default_is_failure",
]

T = TypeVar("T")
_CLOSED, _HALF_OPEN, _ISOLATED = State.CLOSED, State.HALF_OPEN, State.ISOLATED
_OK = Code.OK
_CANCELLED = Code.CANCELLED
#: What `call.status` is where the code comes after the messages: in an RPC, in a websocket.
_SAID_LAST = (0, 101)


@dataclass(frozen=True, slots=True)
class CircuitOpened(Event):
    """Calls stop for `retry_after` seconds; `measured` reached `threshold`, or a probe failed."""

    name: str
    measured: float
    threshold: float
    retry_after: float


@dataclass(frozen=True, slots=True)
class CircuitHalfOpened(Event):
    """The break is over: up to `probes` calls may try."""

    name: str
    probes: int


@dataclass(frozen=True, slots=True)
class CircuitClosed(Event):
    """All probes succeeded: calls flow again."""

    name: str


@dataclass(frozen=True, slots=True)
class CallRejected(Event):
    """A call did not run; `retry_after` is in seconds, None while isolated."""

    name: str
    state: State
    measured: float
    threshold: float
    retry_after: float | None


def default_is_failure(call: Call, error: Exception | None) -> bool:
    """Say whether this outcome speaks against the callee's health.

    With an exception its code decides, without one `call.code`. What the caller did wrong does
    not count; that a policy further down refused *another* call, one made on our behalf, does.
    """
    if error is None:
        return call.code in FAILURE_CODES
    return isinstance(error, RejectedError) or code_of(error) in FAILURE_CODES


class CircuitBreaker:
    """Refuses calls with CircuitOpenError while what it guards is failing; one object a dependency.

    It opens when `failure_ratio` of the calls of the last `sampling_duration` seconds failed, of
    which there must be `minimum_throughput`; or, where `consecutive_failures` is given, on that
    many failures in a row instead (for dependencies called too seldom to have a ratio). After
    `break_duration` seconds exactly `half_open_probes` calls may try: when all succeed it closes,
    when one fails it opens again. A probe that takes `probe_timeout` seconds loses its permit to
    another. Both limits are looked at when a call ends or comes: there is no timer.

    Cancelled calls, and calls that a policy further in refused, are neither success nor failure; a
    probe among them gives its permit back. Results of calls begun in an earlier state never count.
    A stream is judged when its first message leaves (while closed, one that was not declared a
    stream is counted when it ends). Put it inside of Retry, or one call's retries count as one.
    And put a Timeout inside of it: what hangs until a Deadline further out ends it is cancelled, to
    the breaker, and never counts.

    It belongs to one event loop. Raises ConfigurationError for options out of range.
    """

    __slots__ = ("_circuit", "_counts", "_is_failure", "_monotonic", "_refused", "name")

    def __init__(
        self,
        name: str,
        *,
        failure_ratio: float = 0.5,
        consecutive_failures: int | None = None,
        minimum_throughput: int = 20,
        sampling_duration: float | timedelta = 30.0,
        break_duration: float | timedelta = 5.0,
        half_open_probes: int = 1,
        probe_timeout: float | timedelta = 30.0,
        is_failure: Callable[[Call, Exception | None], bool] = default_is_failure,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not 0 < failure_ratio <= 1:
            raise ConfigurationError(
                f"failure_ratio must be above 0 and at most 1, not {failure_ratio!r}"
            )
        duration = seconds("sampling_duration", sampling_duration)
        throughput = _at_least_1("minimum_throughput", minimum_throughput)
        window: Window = FailureRatio(failure_ratio, throughput, duration)
        if consecutive_failures is not None:
            window = ConsecutiveFailures(_at_least_1("consecutive_failures", consecutive_failures))
        self.name = name
        self._counts = consecutive_failures is not None
        self._circuit = Circuit(
            window,
            break_duration=seconds("break_duration", break_duration),
            half_open_probes=_at_least_1("half_open_probes", half_open_probes),
            probe_timeout=seconds("probe_timeout", probe_timeout),
        )
        self._is_failure = is_failure
        self._monotonic = clock.monotonic
        self._refused = f"the circuit {name!r} is open: too many calls failed"

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

    async def __call__(self, call: Call, proceed: Next[T]) -> T:
        """Let `call` proceed if the circuit admits it, and learn from how it ends."""
        circuit = self._circuit
        if circuit.state is not _CLOSED or call.streaming:
            return await self._watched(call, proceed, self._admit(call))
        ticket = circuit.ticket
        try:
            result = await proceed(call)
        except Exception as error:
            self._ended(call, ticket, error)
            raise
        if self._is_failure is default_is_failure and call.code is _OK:
            circuit.succeeded(ticket, 0.0 if self._counts else self._monotonic())
        else:
            self._ended(call, ticket, None)
        return result

    def _admit(self, call: Call) -> int:
        circuit, now = self._circuit, self._monotonic()
        was = circuit.state
        ticket = circuit.admit(now)
        if circuit.state is not was:
            call.emit(CircuitHalfOpened("circuit_breaker", self.name, circuit.half_open_probes))
        if ticket is None:
            raise self._refusal(call, now)
        return ticket

    async def _watched(self, call: Call, proceed: Next[T], ticket: int) -> T:
        """Proceed with a probe or a stream; its first message, if one comes, is the verdict."""
        judged = False

        def first_message() -> None:
            nonlocal judged
            if not judged:
                judged = True
                self._judge(call, ticket, None)

        call.on_first_message(first_message)
        try:
            result = await proceed(call)
        except Exception as error:
            if not judged:
                self._judge(call, ticket, error)
            raise
        else:
            if not judged:
                self._judge(call, ticket, None)
            return result
        finally:
            judged = True
            self._circuit.withdrawn(ticket)

    def _ended(self, call: Call, ticket: int, error: Exception | None) -> None:
        if call.streaming:  # it was not when it began: its first message has left
            error = None
            if call.status in _SAID_LAST:
                self._succeeded(call, ticket)
                return
        self._judge(call, ticket, error)

    def _judge(self, call: Call, ticket: int, error: Exception | None) -> None:
        code = call.code if error is None else code_of(error)
        if code is _CANCELLED or (isinstance(error, RejectedError) and error.refuses(call)):
            self._circuit.withdrawn(ticket)
        elif self._is_failure(call, error):
            self._failed(call, ticket)
        else:
            self._succeeded(call, ticket)

    def _succeeded(self, call: Call, ticket: int) -> None:
        if self._circuit.succeeded(ticket, self._monotonic()):
            call.emit(CircuitClosed("circuit_breaker", self.name))

    def _failed(self, call: Call, ticket: int) -> None:
        circuit, now = self._circuit, self._monotonic()
        if circuit.failed(ticket, now):
            call.emit(
                CircuitOpened(
                    "circuit_breaker",
                    self.name,
                    measured=circuit.measured,
                    threshold=circuit.window.threshold,
                    retry_after=circuit.break_duration,
                )
            )

    def _refusal(self, call: Call, now: float) -> CircuitOpenError:
        circuit = self._circuit
        state, retry_after = circuit.state, circuit.retry_after(now)
        measured, threshold, message = circuit.measured, circuit.window.threshold, self._refused
        if state is _HALF_OPEN:
            measured = threshold = circuit.half_open_probes
            message = f"the circuit {self.name!r} is half-open and all its probes are out"
        elif state is _ISOLATED:
            message = f"the circuit {self.name!r} is isolated by hand"
        if call.listener is not None:
            call.emit(
                CallRejected("circuit_breaker", self.name, state, measured, threshold, retry_after)
            )
        return CircuitOpenError(
            message,
            call=call,
            policy="circuit_breaker",
            measured=measured,
            threshold=threshold,
            retry_after=retry_after,
        )

    def __repr__(self) -> str:
        return f"CircuitBreaker({self.name!r}, {self._circuit.state.value})"


def _at_least_1(option: str, value: int) -> int:
    if not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{option} must be a whole number of at least 1, not {value!r}")
    return value
