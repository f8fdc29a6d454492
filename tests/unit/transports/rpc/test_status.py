"""Errors as google.rpc.Status, and back."""

import math

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from hypothesis import given
from hypothesis import strategies as st

from prodkit import Code, FieldViolation, RejectedError, ServiceError
from prodkit.call import Call
from prodkit.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
)
from prodkit.transports.rpc.status import (
    DETAILS,
    PUSHBACK,
    STATUS,
    STATUS_LIMIT,
    from_rpc_error,
    to_status,
    trailers,
)

CALL = Call("/shop.v1.Orders/Create")


def sent(error: BaseException, call: Call = CALL) -> ServiceError:
    """Send `error` as the server does, receive it as the client does."""
    status = to_status(error, call)
    return from_rpc_error(
        grpc.aio.AioRpcError(
            STATUS[Code(status.code)],
            grpc.aio.Metadata(),
            grpc.aio.Metadata(*trailers(status, error, call)),
            status.message,
        )
    )


def refusal(call: Call, retry_after: float | None = 0.25) -> OverloadedError:
    return OverloadedError(
        "busy", call=call, policy="shed", measured=0.9, threshold=0.8, retry_after=retry_after
    )


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_its_status(code):
    assert STATUS[code].value[0] == code


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_every_code_comes_back(code):
    assert sent(ServiceError("m", code=code)).code is code


def test_the_class_tells_the_code():
    assert type(sent(ServiceError("m", code=Code.NOT_FOUND))) is NotFoundError
    assert type(sent(ServiceError("m", code=Code.DATA_LOSS))) is ServiceError


def test_all_details_come_back():
    error = InvalidArgumentError(
        "wrong",
        reason="BAD",
        violations=[FieldViolation("/a", "b", "c")],
        retry_after=1.5,
        metadata={"k": "v"},
    )
    back = sent(error)
    assert (back.message, back.reason, back.violations) == ("wrong", "BAD", error.violations)
    assert (back.retry_after, dict(back.metadata)) == (1.5, {"k": "v"})


def test_the_domain_is_the_service():
    status = to_status(NotFoundError("m"), CALL)
    assert ErrorInfo.FromString(status.details[0].value).domain == "shop.v1.Orders"


def test_a_refusal_explains_itself_and_pushes_back():
    error = refusal(CALL)
    back = sent(error)
    assert dict(back.metadata) == {"policy": "shed", "measured": "0.9", "threshold": "0.8"}
    assert dict(trailers(to_status(error, CALL), error, CALL))[PUSHBACK] == "250"
    assert not isinstance(back, RejectedError)


def test_a_refusal_of_another_call_tells_only_that_a_dependency_is_away():
    error = refusal(Call("inner"))
    back = sent(error)
    assert (type(back), back.reason) == (UnavailableError, "DEPENDENCY_UNAVAILABLE")
    assert dict(back.metadata) == {}
    assert PUSHBACK not in dict(trailers(to_status(error, CALL), error, CALL))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("secret"), Code.INTERNAL),
        (TimeoutError("secret"), Code.DEADLINE_EXCEEDED),
        (ConnectionRefusedError("secret"), Code.UNAVAILABLE),
    ],
)
def test_other_exceptions_tell_their_code_alone(error, code):
    status = to_status(error, CALL)
    assert status.code == code
    assert b"secret" not in status.SerializeToString()


def test_details_that_cannot_be_read_are_left_out():
    error = from_rpc_error(
        grpc.aio.AioRpcError(
            grpc.StatusCode.NOT_FOUND,
            grpc.aio.Metadata(),
            grpc.aio.Metadata((DETAILS, b"\xff\xff")),
            "gone",
        )
    )
    assert (type(error), error.message, error.reason) == (NotFoundError, "gone", "NOT_FOUND")
    assert error.retry_after is None


@pytest.mark.parametrize("wait", [1e300, math.inf, math.nan])
def test_a_wait_without_an_end_is_the_longest_that_can_be_told(wait):
    back = sent(UnavailableError("away", retry_after=wait))
    assert (type(back), back.retry_after) == (UnavailableError, 315_576_000_000.0)
    status = to_status(refusal(CALL, wait), CALL)
    assert trailers(status, refusal(CALL, wait), CALL)[1][0] == PUSHBACK


@pytest.mark.parametrize("told", ["-1", "-0.5", "soon", "", "\u0663", "9" * 5000, b"1"])
@pytest.mark.parametrize("retry_after", [None, 2.0])
def test_a_push_back_that_is_negative_or_unreadable_means_do_not(told, retry_after):
    details = to_status(UnavailableError("away", retry_after=retry_after), CALL)
    metadata = grpc.aio.Metadata((DETAILS, details.SerializeToString()), (PUSHBACK, told))
    error = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), metadata, "away")
    assert from_rpc_error(error).retry_after == -1.0


def test_a_mark_beside_the_error_is_read_as_one_of_it():
    metadata = grpc.aio.Metadata(("x-prodkit-retry", "exhausted"), ("x-prodkit-bin", b"1"))
    error = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), metadata, "away")
    assert from_rpc_error(error).metadata == {"prodkit-retry": "exhausted"}


def test_do_not_is_passed_on():
    assert sent(UnavailableError("away", retry_after=-1.0)).retry_after == -1.0


def test_a_push_back_alone_is_a_retry_after():
    error = from_rpc_error(
        grpc.aio.AioRpcError(
            grpc.StatusCode.UNAVAILABLE,
            grpc.aio.Metadata(),
            grpc.aio.Metadata((PUSHBACK, "1500")),
            None,
        )
    )
    assert error.message == "the service that was called did not answer"
    assert (error.retry_after, error.__notes__) == (1.5, ["gRPC: UNAVAILABLE"])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (grpc.StatusCode.UNAVAILABLE, "the service that was called did not answer"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "the service that was called did not answer in time"),
        (grpc.StatusCode.INTERNAL, "the service that was called failed"),
        (grpc.StatusCode.UNKNOWN, "the service that was called failed"),
    ],
)
def test_what_nobody_meant_for_strangers_is_told_in_a_note(code, message):
    words = "failed to connect to all addresses; ipv4:10.1.2.3:50051: refused"
    error = from_rpc_error(grpc.aio.AioRpcError(code, details=words))
    assert (error.message, error.__notes__) == (message, [f"gRPC: {words}"])
    assert "10.1.2.3" not in to_status(error, CALL).message


def test_what_a_service_said_of_its_failure_stays():
    assert sent(UnavailableError("the till is closed")).message == "the till is closed"


def test_what_a_peer_says_of_the_request_stays():
    error = from_rpc_error(grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, details="no order 7"))
    assert error.message == "no order 7"


def test_a_deadline_of_grpc_is_our_deadline():
    error = grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, details="Deadline Exceeded")
    assert type(from_rpc_error(error)) is DeadlineExceededError


def test_small_metadata_survive_beside_large_ones():
    large = {f"key{number}": "v" * 500 for number in range(20)}
    back = sent(ServiceError("m", metadata={**large, "prodkit-retry": "exhausted"}))
    assert back.metadata["prodkit-retry"] == "exhausted"
    assert 1 < len(back.metadata) < 21


def test_what_is_no_text_does_not_stop_the_answer():
    back = sent(InvalidArgumentError("a\ud800", metadata={"k": "\udfff"}))
    assert (back.message, dict(back.metadata)) == ("a?", {"k": "?"})


@given(
    message=st.text(max_size=3000),
    violations=st.lists(
        st.builds(FieldViolation, st.text(max_size=900), st.text(max_size=900), st.text()),
        max_size=80,
    ),
    metadata=st.dictionaries(st.text(max_size=300), st.text(max_size=3000), max_size=40),
    reason=st.text(max_size=500),
)
def test_no_status_is_too_large_to_travel(message, violations, metadata, reason):
    error = ServiceError(
        message, code=Code.ABORTED, violations=violations, metadata=metadata, reason=reason
    )
    status = to_status(error, CALL)
    assert status.ByteSize() <= STATUS_LIMIT
    kept = len(sent(error).violations)
    omitted = (
        int(sent(error).metadata.get("violations_omitted", 0)) if len(violations) > kept else 0
    )
    assert kept + omitted == len(violations)
