"""RFC 9457 bodies, and the table between codes and statuses."""

import json
from asyncio import CancelledError

import pytest

from prodkit.call import Call
from prodkit.errors import (
    AbortedError,
    Code,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
    RateLimitedError,
    ServiceError,
    UnauthenticatedError,
    UnavailableError,
)
from prodkit.transports.problem import CODE_OF_STATUS, HTTP_STATUS, problem, status_of


def answer(error: BaseException, call: Call | None = None):
    status, headers, body = problem(error, call=call or Call("GET /", request_id="r-1"))
    return status, dict(headers), json.loads(body)


def limited(call: Call) -> RateLimitedError:
    return RateLimitedError(
        "too fast", call=call, policy="limiter", measured=11, threshold=10, retry_after=2.2
    )


def test_a_service_error_tells_what_programs_and_people_need():
    status, headers, body = answer(NotFoundError("no such order", reason="ORDER_NOT_FOUND"))
    assert status == 404
    assert headers[b"content-type"] == b"application/problem+json"
    assert body == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "no such order",
        "code": "NOT_FOUND",
        "reason": "ORDER_NOT_FOUND",
        "request_id": "r-1",
    }


def test_violations_become_json_pointers():
    violations = [
        FieldViolation("/items/0/quantity", "must be positive", "int32.gt"),
        FieldViolation("/city", "unknown"),
    ]
    _, _, body = answer(InvalidArgumentError("wrong", violations=violations))
    assert body["errors"] == [
        {"pointer": "/items/0/quantity", "detail": "must be positive", "rule": "int32.gt"},
        {"pointer": "/city", "detail": "unknown"},
    ]


def test_the_application_names_statuses_for_its_reasons():
    call = Call("POST /payments")
    call.statuses = {"PAYMENT_DECLINED": 402, "IDEMPOTENCY_KEY_REUSED": 409}
    declined = FailedPreconditionError("no", reason="PAYMENT_DECLINED")
    assert answer(declined, call)[0] == answer(declined, call)[2]["status"] == 402
    assert answer(declined)[0] == 400
    assert answer(InvalidArgumentError("no", reason="IDEMPOTENCY_KEY_REUSED"), call)[0] == 409


def test_a_refusal_explains_itself_and_rounds_retry_after_up():
    call = Call("GET /", request_id="r-1")
    status, headers, body = answer(limited(call), call)
    assert status == 429
    assert headers[b"retry-after"] == b"3"
    assert (body["policy"], body["measured"], body["threshold"]) == ("limiter", 11, 10)
    assert body["retry_after"] == 2.2


@pytest.mark.parametrize(
    ("error", "header", "body"),
    [
        (DeadlineExceededError("late"), b"1", 1.0),
        (TimeoutError(), b"1", 1.0),
        (UnavailableError("away", retry_after=2.2), b"3", 2.2),
        (UnavailableError("away", retry_after=float("inf")), b"1000000000", 1e9),
        (AbortedError("again", retry_after=4), b"4", 4),
        (AbortedError("again"), None, None),
        (limited(Call("GET /another")), b"3", 2.2),
    ],
)
def test_header_and_body_say_the_same_of_when_to_come_back(error, header, body):
    _, headers, document = answer(error)
    assert (headers.get(b"retry-after"), document.get("retry_after")) == (header, body)


def test_a_refusal_that_no_wait_ends_says_so():
    call = Call("GET /", request_id="r-1")
    error = RateLimitedError("too dear", call=call, policy="p", measured=2, threshold=1)
    _, headers, body = answer(error, call)
    assert (b"retry-after" in headers, body["retry_after"]) == (False, None)


def test_a_refusal_of_another_call_reads_as_a_missing_dependency():
    status, headers, body = answer(limited(Call("outbound")))
    assert status == 503
    assert body["reason"] == "DEPENDENCY_UNAVAILABLE"
    assert "policy" not in body
    assert headers[b"retry-after"] == b"3"


def test_an_unknown_exception_tells_nothing():
    status, _, body = answer(RuntimeError("password=hunter2"))
    assert status == 500
    assert "hunter2" not in json.dumps(body)
    assert body["code"] == "UNKNOWN"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ServiceError("x", code=Code.INVALID_ARGUMENT, reason="IDEMPOTENCY_KEY_REUSED"), 422),
        (AbortedError("x", reason="IDEMPOTENCY_KEY_IN_USE"), 409),
        (InvalidArgumentError("x", reason="BODY_TOO_LARGE"), 413),
        (TimeoutError(), 504),
        (ConnectionResetError(), 503),
        (CancelledError(), 499),
    ],
)
def test_reasons_and_foreign_errors_have_their_status(error, status):
    assert status_of(error, call=Call("GET /")) == status
    assert problem(error, call=Call("GET /"))[0] == status


@pytest.mark.parametrize("error", [UnavailableError("x"), DeadlineExceededError("x")])
def test_unavailable_and_late_answers_always_say_when_to_come_back(error):
    assert answer(error)[1][b"retry-after"] == b"1"


def test_unauthenticated_names_the_scheme():
    assert answer(UnauthenticatedError("who?"))[1][b"www-authenticate"] == b"Bearer"


def test_every_code_has_a_status():
    assert set(HTTP_STATUS) == set(Code)


@pytest.mark.parametrize("code", list(Code))
def test_failures_stay_failures_and_faults_of_the_caller_stay_the_callers(code):
    back = CODE_OF_STATUS[HTTP_STATUS[code]]
    assert (HTTP_STATUS[code] >= 500) == (HTTP_STATUS[back] >= 500)
    assert (back is Code.OK) == (code is Code.OK)


def test_codes_by_status():
    assert CODE_OF_STATUS[201] is Code.OK
    assert CODE_OF_STATUS[304] is Code.OK
    assert CODE_OF_STATUS[418] is Code.FAILED_PRECONDITION
    assert CODE_OF_STATUS[507] is Code.INTERNAL
    assert CODE_OF_STATUS[502] is Code.UNAVAILABLE


def test_marks_between_services_travel_inward_only():
    error = UnavailableError("x", metadata={"prodkit-retry": "exhausted", "other": "1"})
    _, headers, _ = answer(error)
    assert headers[b"x-prodkit-retry"] == b"exhausted"
    assert b"other" not in headers
    _, headers, _ = answer(error, Call("GET /", edge=True))
    assert b"x-prodkit-retry" not in headers
    call = Call("GET /")
    call.annotate("x-prodkit-retry", "exhausted")  # which the door writes
    assert b"x-prodkit-retry" not in answer(error, call)[1]


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("no product \ud800"),
        InvalidArgumentError("x", violations=[FieldViolation("/\udcff", "\ud800", "r")]),
    ],
)
def test_a_message_that_is_no_text_is_an_answer_all_the_same(error):
    status, _, body = answer(error)
    assert status == HTTP_STATUS[error.code]
    assert "?" in str(body)


@pytest.mark.parametrize("wait", [float("inf"), float("nan"), 1e300])
def test_a_wait_without_an_end_is_a_very_long_one(wait):
    status, headers, _ = answer(UnavailableError("away", retry_after=wait))
    assert (status, headers[b"retry-after"]) == (503, b"1000000000")
