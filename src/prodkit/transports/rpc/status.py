"""Errors as google.rpc.Status with details, and back again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from prodkit import errors
from prodkit.call import Call
from prodkit.errors import (
    FAILURE_CODES,
    Code,
    FieldViolation,
    RejectedError,
    ServiceError,
    code_of,
)

Trailers: TypeAlias = tuple[tuple[str, str | bytes], ...]

STATUS: Final[Mapping[Code, grpc.StatusCode]] = MappingProxyType(
    {code: next(s for s in grpc.StatusCode if s.value[0] == code) for code in Code}
)
DETAILS: Final = "grpc-status-details-bin"
#: gRFC A6: how long a client should leave a call that did not run; only for our own refusals.
PUSHBACK: Final = "grpc-retry-pushback-ms"
#: Bytes of a Status. Details are metadata, of which implementations promise 8 KiB; base64 makes
#: a third more of them, and the message travels once more beside them, percent-encoded.
STATUS_LIMIT: Final = 4096
#: Metadata of an error that is meant for services; beside it they say the same with an "x-".
_INTERNAL: Final = "prodkit-"
_MARK: Final = f"x-{_INTERNAL}"
_TEXT_LIMIT: Final = 512
#: gRPC reads the push-back as 32 bits.
_PUSHBACK_DIGITS: Final = 10
#: Seconds that a Duration of protobuf can hold.
_LONGEST: Final = 315_576_000_000.0
_OMITTED: Final = "violations_omitted"
#: What a failure reads that nobody described.
_MESSAGES: Final[Mapping[grpc.StatusCode, str]] = MappingProxyType(
    {
        grpc.StatusCode.UNAVAILABLE: "the service that was called did not answer",
        grpc.StatusCode.DEADLINE_EXCEEDED: "the service that was called did not answer in time",
    }
)


def told(error: BaseException, call: Call) -> ServiceError:
    """Return what the caller of `call` may know of `error`.

    A refusal of some other call, one that the handler made, must not read "did not run"; an error
    that is no ServiceError tells nothing of the inside.
    """
    if isinstance(error, RejectedError) and not error.refuses(call):
        return errors.UnavailableError(
            "a dependency is unavailable",
            reason="DEPENDENCY_UNAVAILABLE",
            retry_after=error.retry_after,
        )
    if isinstance(error, ServiceError):
        return error
    match code_of(error):
        case Code.DEADLINE_EXCEEDED:
            return errors.DeadlineExceededError("the time of this call was over")
        case Code.UNAVAILABLE:
            return errors.UnavailableError("a dependency is unavailable")
        case _:
            return errors.InternalError("internal error")


def to_status(error: BaseException, call: Call) -> Status:
    """Return the google.rpc.Status for `error`, below `STATUS_LIMIT` bytes.

    ErrorInfo's domain is the service that answers. Violations that do not fit are left out, and
    their number stands in ErrorInfo's metadata as `violations_omitted`.
    """
    shown = told(error, call)
    status = Status(code=int(shown.code), message=_cut(shown.message))
    info = ErrorInfo(reason=_cut(shown.reason, 63), domain=call.operation[1:].partition("/")[0])
    if shown.retry_after is not None:
        _attach(status, RetryInfo(retry_delay=_duration(shown.retry_after)))
    # The small ones first: what programs test, retry marks say, is a word; what fills up is prose.
    for name, text in sorted((*_measured(shown), *_told(shown, call)), key=_size):
        key, value = _cut(name), _cut(text)
        if info.ByteSize() + status.ByteSize() + len(key) + len(value) < STATUS_LIMIT // 2:
            info.metadata[key] = value
    bad, omitted = _bad_request(
        shown.violations, STATUS_LIMIT - status.ByteSize() - info.ByteSize() - 200
    )
    if omitted:
        info.metadata[_OMITTED] = str(omitted)
    _attach(status, info)
    if bad.field_violations:
        _attach(status, bad)
    return status


def trailers(status: Status, error: BaseException, call: Call) -> Trailers:
    """Return the trailing metadata that carry the details, and the push-back of a refusal."""
    details = (DETAILS, status.SerializeToString())
    if isinstance(error, RejectedError) and error.refuses(call) and error.retry_after is not None:
        wait = min(max(0.0, error.retry_after), _LONGEST)
        return details, (PUSHBACK, str(round(wait * 1000)))
    return (details,)


def from_rpc_error(error: grpc.aio.AioRpcError) -> ServiceError:
    """Return what a peer answered as the error that stands for its code, with all its details.

    Details that cannot be read are as good as none: code and message still tell. A failure that
    brings no details was described by no service for strangers to read: grpc's own words name
    addresses, so they stand in a note, and the message is ours.
    """
    if Code(error.code().value[0]) in FAILURE_CODES and DETAILS not in _trailing(error):
        meant = stated(error, _MESSAGES.get(error.code(), "the service that was called failed"))
        meant.add_note(f"gRPC: {error.details() or error.code().name}")
        return meant
    return stated(error, error.details() or error.code().name)


def _trailing(error: grpc.aio.AioRpcError) -> dict[str, str | bytes]:
    return dict(error.trailing_metadata() or ())


def stated(error: grpc.aio.AioRpcError, message: str) -> ServiceError:
    """Return the error that stands for the code of `error`, with `message` and all its details."""
    metadata = _trailing(error)
    info, retry, bad = _details(metadata.get(DETAILS))
    code = Code(error.code().value[0])
    found = dict(info.metadata) | _marks(metadata)
    return errors.error_type(code)(
        message,
        code=code,
        reason=info.reason or None,
        violations=[FieldViolation(v.field, v.description, v.reason) for v in bad.field_violations],
        retry_after=_retry_after(retry, metadata.get(PUSHBACK)),
        metadata=found,
    )


def _marks(metadata: Mapping[str, str | bytes]) -> dict[str, str]:
    """Return what a prodkit service says beside its error, such as "retried in vain"."""
    return {
        name[2:]: value
        for name, value in metadata.items()
        if name.startswith(_MARK) and isinstance(value, str)
    }


def _details(data: str | bytes | None) -> tuple[ErrorInfo, RetryInfo | None, BadRequest]:
    info, retry, bad = ErrorInfo(), None, BadRequest()
    try:
        status = Status.FromString(data) if isinstance(data, bytes) else Status()
        for detail in status.details:
            match detail.TypeName():
                case "google.rpc.RetryInfo":
                    retry = RetryInfo.FromString(detail.value)
                case "google.rpc.ErrorInfo":
                    info = ErrorInfo.FromString(detail.value)
                case "google.rpc.BadRequest":
                    bad = BadRequest.FromString(detail.value)
    except DecodeError:
        return ErrorInfo(), None, BadRequest()
    return info, retry, bad


def _retry_after(retry: RetryInfo | None, pushback: str | bytes | None) -> float | None:
    if pushback is not None and not _is_wait(pushback):
        return -1.0  # "a negative or unreadable value means: do not retry" (A6)
    if retry is not None:
        return retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return None if pushback is None else int(pushback) / 1000


def _is_wait(pushback: str | bytes) -> bool:
    return (
        isinstance(pushback, str)
        and pushback.isdecimal()
        and pushback.isascii()
        and len(pushback) <= _PUSHBACK_DIGITS
    )


def _size(pair: tuple[str, str]) -> int:
    return len(pair[0]) + len(pair[1])


def _told(error: ServiceError, call: Call) -> Iterable[tuple[str, str]]:
    """Return the metadata of `error`, without what services tell each other where strangers ask."""
    return (
        item for item in error.metadata.items() if not (call.edge and item[0].startswith(_INTERNAL))
    )


def _measured(error: ServiceError) -> Iterable[tuple[str, str]]:
    if isinstance(error, RejectedError):
        yield "policy", error.policy
        yield "measured", f"{error.measured:g}"
        yield "threshold", f"{error.threshold:g}"


def _bad_request(violations: Iterable[FieldViolation], room: int) -> tuple[BadRequest, int]:
    bad, omitted = BadRequest(), 0
    for violation in violations:
        entry = BadRequest.FieldViolation(
            field=_cut(violation.field),
            description=_cut(violation.description),
            reason=_cut(violation.rule),
        )
        if omitted or bad.ByteSize() + entry.ByteSize() > room:
            omitted += 1
        else:
            bad.field_violations.append(entry)
    return bad, omitted


def _attach(status: Status, detail: ErrorInfo | RetryInfo | BadRequest) -> None:
    packed = AnyMessage()
    packed.Pack(detail)
    status.details.append(packed)


def _duration(seconds: float) -> Duration:
    if not seconds < _LONGEST:  # infinite, or no number
        return Duration(seconds=int(_LONGEST))
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


def _cut(text: str, limit: int = _TEXT_LIMIT) -> str:
    # Lone surrogates, which JSON can bring in, are no text that protobuf would take.
    data = text.encode(errors="replace")
    if len(data) > limit:
        return data[: limit - 3].decode(errors="ignore") + "…"
    return data.decode()
