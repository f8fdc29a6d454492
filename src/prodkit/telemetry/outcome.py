"""How a call ended, in the words that its span, its metrics and its access line share."""

from __future__ import annotations

import msgspec

from prodkit.call import Call, Kind
from prodkit.errors import FAILURE_CODES, Code, RejectedError, ServiceError, code_of
from prodkit.security.redaction import Redactor
from prodkit.telemetry.semconv import UNMATCHED
from prodkit.transports.problem import status_of

_PATH_LIMIT = 256
# An Enum's attributes are slow to reach.
_SERVER, _OK = Kind.SERVER, Code.OK
_INBOUND = frozenset({Kind.SERVER, Kind.CONSUMER})

#: Doors whose operation has its template only after routing.
_ROUTED_LATE = frozenset({"http", "websocket"})
#: Codes that are a fault of this service.
_FAULTS = frozenset({Code.UNKNOWN, Code.INTERNAL, Code.DATA_LOSS})


class Outcome(msgspec.Struct):  # a Struct is built without running any Python
    """One call that has ended.

    `path` is its raw path without secrets, for HTTP servers alone. `level` is that of its log line:
    our faults are errors, trouble and refusals are warnings.
    """

    call: Call
    operation: str
    path: str
    code: Code
    status: int
    seconds: float
    error: BaseException | None
    level: str

    @property
    def matched(self) -> bool:
        """Whether the operation is one that the service has."""
        return not self.operation.endswith(UNMATCHED)


def outcome_of(
    call: Call, raw: str, seconds: float, error: BaseException | None, redactor: Redactor
) -> Outcome:
    """Say how `call`, whose operation was `raw` when it came, ended.

    HTTP doors replace the operation when the route is known. Where they did not, nobody got as far
    as looking, and the door may still find out, or nothing was there, and the stranger's path must
    not become a label.
    """
    code = call.code if error is None else _code(error)
    operation, path, status = call.operation, "", call.status
    if call.kind is _SERVER and call.transport in _ROUTED_LATE:
        method, _, path = raw.partition(" ")
        path = redactor.path(path[:_PATH_LIMIT])
        if operation is raw and error is not None:
            call.locate()
            operation = call.operation
        if operation is raw:
            operation = f"{method} {UNMATCHED}"
        if error is not None and not status:
            status = status_of(error, call=call)
    level = "info" if call.kind in _INBOUND else "debug"
    if code is not _OK or error is not None:
        level = _level(code, error) or level
    return Outcome(call, operation, path, code, status, seconds, error, level)


def notes_of(error: ServiceError) -> str:
    """Return what `error` tells those inside alone: where it happened, what was tried."""
    return "; ".join(getattr(error, "__notes__", ()))


def _level(code: Code, error: BaseException | None) -> str | None:
    """Return the level of what did not go well; None for what only its caller did wrong."""
    if code in _FAULTS:
        return "error"
    return "warning" if code in FAILURE_CODES or isinstance(error, RejectedError) else None


def _code(error: BaseException) -> Code:
    # a coroutine that is closed while it waits was given up just as one that is cancelled
    return Code.CANCELLED if isinstance(error, GeneratorExit) else code_of(error)
