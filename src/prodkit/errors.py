"""What can go wrong, said once for every door: codes, service errors and rejections."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from prodkit.call import Call


class Code(IntEnum):
    """The canonical status codes of gRPC; each door has one table from here to its wire status."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


#: Codes that speak of the callee's health. What the caller did wrong, and cancellation, do not.
FAILURE_CODES = frozenset(
    {Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS}
)


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One thing wrong with one field: where (a JSON Pointer), what, and which rule it broke."""

    field: str
    description: str
    rule: str = ""


class ConfigurationError(ValueError):
    """An option or a composition that cannot work; raised at construction or at bind."""


class ServiceError(Exception):
    """A failure that every door can tell its caller.

    `message` may be shown to the caller, so it holds no secret. `reason` is the stable
    UPPER_SNAKE_CASE word that programs test (google.rpc.ErrorInfo); `retry_after` is in seconds.
    """

    code: Code = Code.UNKNOWN
    reason: str = ""
    violations: tuple[FieldViolation, ...] = ()
    metadata: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        message: str,
        *,
        code: Code | None = None,
        reason: str | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_after: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.reason = reason or type(self).reason or self.code.name
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.metadata = metadata or {}


class InvalidArgumentError(ServiceError):
    """The request is wrong whatever the state of the service; `violations` name the fields."""

    code = Code.INVALID_ARGUMENT


class UnauthenticatedError(ServiceError):
    """Nobody, or nobody we know, is calling."""

    code = Code.UNAUTHENTICATED


class PermissionDeniedError(ServiceError):
    """We know the caller, and the caller may not."""

    code = Code.PERMISSION_DENIED


class NotFoundError(ServiceError):
    """No such thing, or none that this caller may see."""

    code = Code.NOT_FOUND


class AlreadyExistsError(ServiceError):
    """What should be created is there already."""

    code = Code.ALREADY_EXISTS


class FailedPreconditionError(ServiceError):
    """The state of the system does not admit the request; repeating it does not help."""

    code = Code.FAILED_PRECONDITION


class AbortedError(ServiceError):
    """Somebody else was faster; the caller may repeat from a higher level."""

    code = Code.ABORTED


class DeadlineExceededError(ServiceError, TimeoutError):
    """The time that the call had is over; whether it took effect is unknown.

    Also a TimeoutError, so that whoever handles those, or tells a Retry of them, means this one
    too; and as Python's own it is therefore an OSError, without an errno.
    """

    code = Code.DEADLINE_EXCEEDED


class UnavailableError(ServiceError):
    """The callee, or something it needs, is away; whether the call took effect is unknown."""

    code = Code.UNAVAILABLE


class InternalError(ServiceError):
    """A fault of ours."""

    code = Code.INTERNAL


class RejectedError(ServiceError):
    """A policy refused *this* call: it did not run and may be tried elsewhere.

    It says who refused (`policy`), what was `measured` against which `threshold`, when to try
    again (`retry_after`), and which `call` was refused. A door tells its caller "did not run" only
    for its own call: see `refuses`.
    """

    #: Much is refused when there is least time to do it: an error without a dict is made in a
    #: third of the time.
    __slots__ = ("call", "measured", "message", "policy", "retry_after", "threshold")

    code = Code.UNAVAILABLE
    reason = "REJECTED"

    def __init__(
        self,
        message: str,
        *,
        call: Call,
        policy: str,
        measured: float,
        threshold: float,
        retry_after: float | None = None,
        code: Code | None = None,
        reason: str | None = None,
    ) -> None:
        self.message = message
        if code is not None:
            self.code = code
        if reason is not None:
            self.reason = reason
        self.retry_after = retry_after
        self.call = call
        self.policy = policy
        self.measured = measured
        self.threshold = threshold

    def refuses(self, call: Call) -> bool:
        """Say whether it was `call` that was refused, and not some call that its handler made."""
        return self.call is call

    def __reduce__(self) -> tuple[object, ...]:
        """Copy or pickle it without its constructor; of its call a pickle keeps what was called."""
        said = {name: getattr(self, name) for name in RejectedError.__slots__}
        return _made_of, (type(self), *self.args), {**vars(self), **said}


def _made_of(kind: type[RejectedError], *args: object) -> RejectedError:
    return kind.__new__(kind, *args)


_Rejected = TypeVar("_Rejected", bound=RejectedError)
_new = RejectedError.__new__


def rejection(
    kind: type[_Rejected],
    message: str,
    call: Call,
    policy: str,
    measured: float,
    threshold: float,
    retry_after: float | None,
) -> _Rejected:
    """Return `kind(message, call=call, ...)` in two fifths of the time, for who refuses crowds."""
    error = _new(kind, message)
    error.message = message
    error.retry_after = retry_after
    error.call = call
    error.policy = policy
    error.measured = measured
    error.threshold = threshold
    return error


class CircuitOpenError(RejectedError):
    """The breaker is open, or all its probes are out."""

    reason = "CIRCUIT_OPEN"


class RateLimitedError(RejectedError):
    """The caller used up its rate."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "RATE_LIMITED"


class BulkheadFullError(RejectedError):
    """All places and the whole queue are taken."""

    reason = "BULKHEAD_FULL"


class OverloadedError(RejectedError):
    """The process sheds load."""

    reason = "OVERLOADED"


class ThrottledError(RejectedError):
    """The target is overloaded, so we send it less."""

    reason = "THROTTLED"


class ShuttingDownError(RejectedError):
    """The process is on its way out."""

    reason = "SHUTTING_DOWN"


_TYPES = {kind.code: kind for kind in ServiceError.__subclasses__() if kind is not RejectedError}


def error_type(code: Code) -> type[ServiceError]:
    """Return the class that stands for `code`; ServiceError, to be told the code, where none."""
    return _TYPES.get(code, ServiceError)


def add_note(error: BaseException, note: str) -> None:
    """Add a note once, where `error` takes any: some are raised for ever, and some are frozen."""
    if note not in getattr(error, "__notes__", ()):
        with suppress(AttributeError):
            error.add_note(note)


def code_of(error: BaseException) -> Code:
    """Return the code that stands for `error`, whoever raised it."""
    if isinstance(error, ServiceError):
        return error.code
    if isinstance(error, CancelledError):
        return Code.CANCELLED
    if isinstance(error, TimeoutError):
        return Code.DEADLINE_EXCEEDED
    if isinstance(error, ConnectionError):
        return Code.UNAVAILABLE
    return Code.UNKNOWN
