"""What the exceptions of httpx2 mean: which of ours each becomes, and what policies go by."""

from __future__ import annotations

from typing import Final

import httpx2

from prodkit.call import Call
from prodkit.errors import DeadlineExceededError, ServiceError, UnavailableError

#: Mistakes of the caller's, which no other time or place mends: they pass as they are.
MISTAKES: Final = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
_OWN: Final = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.CookieConflict, httpx2.StreamError)
_OUTSIDE: Final = "the client raises it, outside of its transport"


def meaning_of(error: httpx2.TransportError, call: Call, request: httpx2.Request) -> ServiceError:
    """Return the error that `error` is for who called; a note alone tells where it happened."""
    if isinstance(error, httpx2.TimeoutException):
        meant: ServiceError = DeadlineExceededError(
            "the service that was called did not answer in time"
        )
    else:
        meant = UnavailableError("the service that was called did not answer")
    port = "" if request.url.port is None else f":{request.url.port}"
    where = f"{request.method} {request.url.host}{port}"
    if "operation" in request.extensions:
        where += f" ({call.operation})"
    meant.add_note(f"{where}: {type(error).__name__}")
    return meant


def code_instead_of(kind: type[Exception]) -> str:
    """Say what a policy should go by that waits for `kind`; "" where it does come."""
    if not issubclass(kind, _OWN) or issubclass(kind, MISTAKES):
        return ""
    if issubclass(kind, httpx2.HTTPStatusError):
        return "write the code of its status, Code.UNAVAILABLE for 502 and 503"
    if issubclass(kind, httpx2.TimeoutException):
        return "write Code.DEADLINE_EXCEEDED"
    if kind in (httpx2.HTTPError, httpx2.RequestError, httpx2.TransportError):
        return "write Code.UNAVAILABLE and Code.DEADLINE_EXCEEDED"
    return "write Code.UNAVAILABLE" if issubclass(kind, httpx2.TransportError) else _OUTSIDE
