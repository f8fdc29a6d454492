"""Errors as HTTP answers: RFC 9457 problem details and the one table between codes and statuses."""

from __future__ import annotations

import json
import math
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import msgspec

from prodkit.call import Call
from prodkit.errors import Code, FieldViolation, RejectedError, ServiceError, code_of

#: The HTTP status of each code, as google/rpc/code.proto publishes it.
HTTP_STATUS = MappingProxyType(
    {
        Code.OK: 200,
        Code.CANCELLED: 499,
        Code.UNKNOWN: 500,
        Code.INVALID_ARGUMENT: 400,
        Code.DEADLINE_EXCEEDED: 504,
        Code.NOT_FOUND: 404,
        Code.ALREADY_EXISTS: 409,
        Code.PERMISSION_DENIED: 403,
        Code.RESOURCE_EXHAUSTED: 429,
        Code.FAILED_PRECONDITION: 400,
        Code.ABORTED: 409,
        Code.OUT_OF_RANGE: 400,
        Code.UNIMPLEMENTED: 501,
        Code.INTERNAL: 500,
        Code.UNAVAILABLE: 503,
        Code.DATA_LOSS: 500,
        Code.UNAUTHENTICATED: 401,
    }
)

#: Reasons for which HTTP has a status of its own.
_REASON_STATUS = {
    "IDEMPOTENCY_KEY_REUSED": 422,
    "BODY_TOO_LARGE": 413,
    "BODY_TIMEOUT": 408,
    "HEADERS_TIMEOUT": 408,
    "HEADERS_TOO_LARGE": 431,
    "METHOD_NOT_ALLOWED": 405,
    "UNSUPPORTED_MEDIA_TYPE": 415,
}

_STATUS_CODE = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    405: Code.UNIMPLEMENTED,
    408: Code.CANCELLED,
    409: Code.ABORTED,
    410: Code.NOT_FOUND,
    413: Code.INVALID_ARGUMENT,
    415: Code.INVALID_ARGUMENT,
    416: Code.OUT_OF_RANGE,
    422: Code.INVALID_ARGUMENT,
    429: Code.RESOURCE_EXHAUSTED,
    499: Code.CANCELLED,
    501: Code.UNIMPLEMENTED,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}


def _code_for(status: int) -> Code:
    if status < 400:
        return Code.OK
    return _STATUS_CODE.get(status, Code.FAILED_PRECONDITION if status < 500 else Code.INTERNAL)


#: The code of each HTTP status, by index; what no HTTP status may be is UNKNOWN.
CODE_OF_STATUS = (Code.UNKNOWN,) * 100 + tuple(_code_for(status) for status in range(100, 600))

#: Metadata of an error that is meant for services, such as "retried in vain".
_MARK = "prodkit-"

#: What a 503 or 504 says when nobody knows better: seconds until it is worth another try.
_DEFAULT_RETRY_AFTER, _LONGEST_RETRY_AFTER = 1.0, 1e9


def status_of(error: BaseException, *, call: Call) -> int:
    """Return the HTTP status with which the door of `call` answers `error`.

    What `call.statuses` says of its reason comes first, then what HTTP has for it, then its code's.
    """
    if isinstance(error, RejectedError) and not error.refuses(call):
        return 503
    if isinstance(error, ServiceError):
        reason = error.reason
        return call.statuses.get(reason) or _REASON_STATUS.get(reason) or HTTP_STATUS[error.code]
    return HTTP_STATUS[code_of(error)]


def problem(error: BaseException, *, call: Call) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return status, headers and body of the RFC 9457 answer to `error`.

    A ServiceError tells its message, reason, violations, and what its policy measured. A rejection
    of another call, one that the handler made, reads DEPENDENCY_UNAVAILABLE: it may have taken
    effect. Of any other exception nothing is told but its code. `type` is always about:blank;
    programs test `reason`. Every 503 and 504 carries Retry-After, in whole seconds; what has that
    header has the same as `retry_after` in its body, unrounded.
    """
    status = status_of(error, call=call)
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": _title(status),
        "status": status,
        **_members(error, call),
    }
    if call.request_id:
        document["request_id"] = call.request_id
    wait = _wait(error, status)
    if wait is not None:
        document["retry_after"] = wait
    body = _encoded(document)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if wait is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(wait))))
    headers.extend(_marks(error, call))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return status, headers, body


def _wait(error: BaseException, status: int) -> float | None:
    """Return the seconds after which it is worth another try, if that is known."""
    wait: float | None = getattr(error, "retry_after", None)
    if wait is None:
        return _DEFAULT_RETRY_AFTER if status in (503, 504) else None
    return min(_LONGEST_RETRY_AFTER, wait)  # infinite, or no number


def _encoded(document: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:  # lone surrogates, which a request's JSON can bring into a message
        return json.dumps(document, ensure_ascii=False).encode(errors="replace")


def _marks(error: BaseException, call: Call) -> list[tuple[bytes, bytes]]:
    """Return what one prodkit service tells another of `error`; strangers are not told."""
    if call.edge or not isinstance(error, ServiceError):
        return []
    return [
        (f"x-{name}".encode(), value.encode("latin-1"))
        for name, value in error.metadata.items()
        if name.startswith(_MARK) and f"x-{name}" not in (call.reply or ())
    ]


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Client Closed Request" if status == 499 else "Error"


def _members(error: BaseException, call: Call) -> dict[str, Any]:
    if not isinstance(error, ServiceError):
        code = code_of(error)
        return {"detail": _DETAIL.get(code, ""), "code": code.name, "reason": code.name}
    if isinstance(error, RejectedError) and not error.refuses(call):
        return {
            "detail": "something that this service needs is not available",
            "code": Code.UNAVAILABLE.name,
            "reason": "DEPENDENCY_UNAVAILABLE",
        }
    members: dict[str, Any] = {
        "detail": error.message,
        "code": error.code.name,
        "reason": error.reason,
    }
    if error.violations:
        members["errors"] = [_violation(violation) for violation in error.violations]
    if isinstance(error, RejectedError):
        members |= {
            "policy": error.policy,
            "measured": error.measured,
            "threshold": error.threshold,
            "retry_after": error.retry_after,
        }
    return members


def _violation(violation: FieldViolation) -> dict[str, str]:
    member = {"pointer": violation.field, "detail": violation.description}
    if violation.rule:
        member["rule"] = violation.rule
    return member


_DETAIL = {
    Code.UNKNOWN: "the service failed; the request id finds it in the logs",
    Code.DEADLINE_EXCEEDED: "the time of this request was over",
    Code.UNAVAILABLE: "something that this service needs is not available",
    Code.CANCELLED: "the request was given up",
}
